package worker

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"eventworker/internal/deadletter"
	"eventworker/internal/event"
	"eventworker/internal/insightsfake"
)

func TestStatusPageSaysHowTheWorkerDoes(t *testing.T) {
	w := newWorld(t)
	w.faults(insightsfake.Fault{Kind: insightsfake.Refuse, ObjectIDs: []string{"a-1"}})
	run := w.start(w.config())
	w.send(clicks("secret-user", "a", 5)...)
	w.send(record("secret-user", "bad"))
	run.settles(6)
	run.ready()
	p := run.Page()
	if p.Level != "ok" || p.Verdict != "Flowing; breaker closed" {
		t.Errorf("%s: %s", p.Level, p.Verdict)
	}
	sum := int64(0)
	for _, part := range p.Messages.Parts {
		sum += part.Count
	}
	if p.Messages.Received != 6 || sum != 6 || p.Messages.Gap != 0 {
		t.Errorf("%+v", p.Messages)
	}
	if len(p.DeadLetters.Causes) != 2 || len(p.DeadLetters.Refusals) != 1 || p.DeadLetters.Refusals[0].Status == 0 {
		t.Errorf("%+v", p.DeadLetters)
	}
	if d := p.Deliveries[0]; d.Requests == 0 || len(d.Statuses) == 0 || d.Median <= 0 || d.P99 < d.Median {
		t.Errorf("%+v", d)
	}
	encoded, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"secret-user", "key-1"} {
		if strings.Contains(string(encoded), secret) {
			t.Errorf("the page shows %s", secret)
		}
	}

	w.faults(down())
	w.send(clicks("secret-user", "b", 3)...)
	run.await("the verdict", func() bool {
		p := run.Page()
		return p.Level == "bad" && strings.Contains(p.Verdict, "breaker open for default (unavailable)") && strings.HasPrefix(p.Verdict, "Paused")
	})
	w.faults()
	run.settles(9)
	run.await("all is well", func() bool { return run.Page().Level == "ok" })
	run.stop()
}

func TestCausesAreBoundedAndTheMostFrequentComeFirst(t *testing.T) {
	var c causes
	for i := range 3 * mostCauses {
		l := &deadletter.Letter{Refusal: event.Refusal{Reason: event.Invalid, Rule: fmt.Sprintf("rule.%d", i)}}
		for range i%3 + 1 {
			c.note(l)
		}
	}
	for range 2 * mostRefusals {
		c.note(&deadletter.Letter{HTTPStatus: 422, APIWords: `the value "abc-123" of userToken is wrong`, Refusal: event.Refusal{Reason: event.Rejected}})
	}
	list, refusals := c.top()
	if len(c.known) > mostCauses || len(list) != shownCauses || len(refusals) != mostRefusals {
		t.Errorf("%d known, %d shown, %d refusals", len(c.known), len(list), len(refusals))
	}
	if list[0].Count != 2*mostRefusals || list[1].Count != 3 {
		t.Errorf("the first are %+v and %+v", list[0], list[1])
	}
	if strings.Contains(list[0].What+refusals[0].Words, "abc-123") {
		t.Errorf("a value is shown: %+v %+v", list[0], refusals[0])
	}
}

func TestLastRequestsGiveQuantiles(t *testing.T) {
	var l lastRequests
	if m, p, answers := l.summary(); m != 0 || p != 0 || len(answers) != 0 {
		t.Error("something of nothing")
	}
	for i := range 1000 {
		l.note(time.Duration(i)*time.Millisecond, [...]string{"200", "200", "503"}[i%3])
	}
	m, p, answers := l.summary()
	if m < 0.86 || m > 0.88 || p < 0.99 || p > 1 || len(answers) != 2 || answers[0].Name != "200" {
		t.Errorf("%v %v %v", m, p, answers)
	}
}
