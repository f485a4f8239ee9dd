package dlq

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"eventworker/internal/check"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
	"eventworker/internal/join"
)

// spoiled are messages that are wrong in ways that need different remedies. The words in capitals are
// what differs between two messages that are wrong in the same way.
var spoiled = map[string]string{
	"no JSON":             `{"type":"recommendation.clicked","userToken":"USER","objectID":"OBJECT"`,
	"unknown type":        `{"type":"recommendation.wished","userToken":"USER","objectID":"OBJECT","timestamp":TIME}`,
	"unknown type, other": `{"type":"recommendation.liked","userToken":"USER","objectID":"OBJECT","timestamp":TIME}`,
	"price with comma":    `{"type":"recommendation.purchased","userToken":"USER","timestamp":TIME,"orderID":"ORDER","items":[{"objectID":"OBJECT","price":"1,AMOUNT"}]}`,
	"price in the cart":   `{"type":"recommendation.addedToCart","userToken":"USER","timestamp":TIME,"items":[{"objectID":"OBJECT","price":"1,AMOUNT"}]}`,
	"discount with comma": `{"type":"recommendation.purchased","userToken":"USER","timestamp":TIME,"items":[{"objectID":"OBJECT","discount":"1,AMOUNT"}]}`,
	"quantity of none":    `{"type":"recommendation.purchased","userToken":"USER","timestamp":TIME,"items":[{"objectID":"OBJECT","price":"AMOUNT","quantity":0}]}`,
	"no user":             `{"type":"recommendation.clicked","objectID":"OBJECT","timestamp":TIME}`,
	"user with blank":     `{"type":"recommendation.clicked","userToken":"a USER","objectID":"OBJECT","timestamp":TIME}`,
	"no object":           `{"type":"recommendation.clicked","userToken":"USER","timestamp":TIME}`,
	"time in seconds":     `{"type":"recommendation.clicked","userToken":"USER","objectID":"OBJECT","timestamp":17640DIGITS}`,
	"no index":            `{"type":"recommendation.clicked","userToken":"USER","objectID":"OBJECT","timestamp":TIME}`,
	"wrong index":         `{"type":"recommendation.clicked","userToken":"USER","objectID":"OBJECT","index":"other","application":"strict","timestamp":TIME}`,
	"unknown shop":        `{"type":"recommendation.clicked","userToken":"USER","objectID":"OBJECT","application":"nobody","timestamp":TIME}`,
	"ahead of time":       `{"type":"recommendation.clicked","userToken":"USER","objectID":"OBJECT","index":"products","timestamp":99TIME}`,
	"too late":            `{"type":"recommendation.clicked","userToken":"USER","objectID":"OBJECT","index":"products","timestamp":10000000DIGITS}`,
}

func refusalOf(m *check.Message) event.Refusal {
	reason, _ := event.ParseReason(m.Reason)
	return event.Refusal{Reason: reason, Stage: event.Stage(m.Stage), Field: m.Field, Rule: m.Rule, Message: m.Text}
}

// Ten thousand messages with other users, objects, amounts, times and places have as many causes as
// ways to be wrong.
func TestCausesAreOneForEachMistakeWhateverTheIdsAndAmounts(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	var kinds []string
	for kind := range spoiled {
		kinds = append(kinds, kind)
	}
	now := time.UnixMilli(1_764_000_000_000)
	var records []check.Record
	var of []string
	for i := range 10_000 {
		kind := kinds[i%len(kinds)]
		object := fmt.Sprintf([]string{"sku-%d", "SKU_%x", "%d", "größe %d"}[random.IntN(4)], random.IntN(1e9))
		text := strings.NewReplacer("USER", fmt.Sprintf("user-%d", random.IntN(1e6)), "OBJECT", object, "AMOUNT", fmt.Sprint(1+random.IntN(1e5)),
			"TIME", fmt.Sprint(now.UnixMilli()-int64(random.IntN(1e6))), "ORDER", fmt.Sprint(random.IntN(1e9)), "DIGITS", fmt.Sprintf("%05d", random.IntN(1e5))).Replace(spoiled[kind])
		if list := `"items":[`; random.IntN(2) == 0 {
			sound := `{"objectID":"sound","price":"2.50"},`
			text = strings.Replace(text, list, list+strings.Repeat(sound, random.IntN(4)), 1)
		}
		records = append(records, check.Record{File: kind, Line: i + 1, Value: []byte(text), Time: now.UnixMilli()})
		of = append(of, kind)
	}
	rules := join.Config{Window: time.Hour, ClickWindow: time.Hour, MaxEventAge: 95 * time.Hour, OnMiss: join.MissSend, Applications: []join.Application{
		{Name: "default", Served: true}, {Name: "strict", Served: true, Indices: []string{"products"}}}}
	report, err := check.Run(t.Context(), check.Options{Rules: rules, Now: now}, records)
	if err != nil {
		t.Fatal(err)
	}
	causes, kindOf, firstOf := map[string]string{}, map[string]string{}, map[string]*check.Message{}
	for i := range report.Messages {
		m := &report.Messages[i]
		if m.Outcome != check.Refused {
			t.Fatalf("%s: %s is %s", of[i], records[i].Value, m.Outcome)
		}
		cause := deadletter.Cause(&deadletter.Letter{Refusal: refusalOf(m), Type: m.Type, Application: m.Application})
		if causes[of[i]] == "" {
			causes[of[i]], firstOf[of[i]] = cause, m
		}
		if causes[of[i]] != cause {
			t.Fatalf("%s has the causes %s and %s:\n%+v\n%+v\n%s", of[i], causes[of[i]], cause, firstOf[of[i]], m, records[i].Value)
		}
		kindOf[cause] = of[i]
	}
	// Two unknown types are one mistake by the rules: the type is not known, so it is no part of the cause.
	if want := len(spoiled) - 1; len(kindOf) != want {
		t.Errorf("%d causes, want %d: %v", len(kindOf), want, causes)
	}
}
