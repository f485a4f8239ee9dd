package dlq

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
)

// What is left out of a plan must not fill it: else the same letters stand before the rest for ever.
func TestAPlanOfAFewLettersIsFollowedByThePlanOfTheNext(t *testing.T) {
	o := newOffice(t)
	o.dead(append(many(3, o.old), many(9, o.click)...)...)
	few := func(p *PlanOptions) { p.Max = 4 }
	left := int64(9)
	for round := range 3 {
		plan := o.plan("", few)
		if want := min(left, 4); plan.Planned != want {
			t.Fatalf("round %d: %d letters are planned, want %d: %+v", round, plan.Planned, want, plan)
		}
		if done := o.apply(plan); done.Written != plan.Planned {
			t.Fatalf("round %d: %+v", round, done)
		}
		left -= plan.Planned
	}
	if plan := o.plan("", few); plan.Planned != 0 || !plan.Complete {
		t.Errorf("nothing is left: %+v", plan)
	}
}

// Two groups may share a dead-letter topic: the letter of one does not stand for that of the other.
func TestALetterOfAnotherGroupHidesNoneOfThisOne(t *testing.T) {
	o := newOffice(t)
	theirs, err := deadletter.NewWriter(deadletter.Config{Brokers: o.cluster.ListenAddrs(), Topic: "shop.dead", Group: "another", Partitions: shopPartitions}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close(context.Background())
	value := o.click(1)
	var written sync.WaitGroup
	written.Add(1)
	theirs.Put(o.letter(value, consume.Record{Time: o.now.UnixMilli(), Key: []byte("user"), Value: []byte(value)}, "shop", 0), written.Done)
	written.Wait()
	o.dead(value)
	if plan := o.plan(""); plan.Planned != 1 || plan.counts()[OtherGroup] != 1 {
		t.Errorf("%+v", plan)
	}
}

// What the API says may name any token of the message, and an edit may show any text of it.
func TestPlansVerificationsAndDiscardsHoldNoTokens(t *testing.T) {
	o := newOffice(t)
	value := strings.Replace(o.badPrice(1), `"currency":"EUR"`, `"currency":"EUR","authenticatedUserToken":"auth-secret-1","mail":"jane@example.com"`, 1)
	ev := o.letter(value, consume.Record{Time: o.now.UnixMilli(), Key: []byte("key-secret-1"), Value: []byte(value)}, "shop", 0)
	ev.Refusal.Message = "refused auth-secret-1 of key-secret-1"
	var written sync.WaitGroup
	written.Add(1)
	o.letters.Put(ev, written.Done)
	written.Wait()
	mask := NewMasker([]byte("key"))
	edit := o.edit(`[{"op":"rewrite","path":"/items/*/price","match":"^([0-9]+),([0-9]+)$","with":"$1.$2"},
		{"op":"move","from":"/mail","path":"/email"},{"op":"add","path":"/userToken","value":12345678}]`)
	plan := o.plan("", func(p *PlanOptions) { p.Edit, p.Mask = edit, mask })
	discarding, err := o.desk.PlanDiscard(t.Context(), DiscardOptions{Filter: o.filter(""), Mask: mask})
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"auth-secret", "key-secret"} {
		for _, v := range plan.Verdicts {
			if strings.Contains(v.What, secret) {
				t.Errorf("the plan says %q", v.What)
			}
		}
		for _, c := range discarding.Causes {
			if strings.Contains(c.What, secret) {
				t.Errorf("the discard says %q", c.What)
			}
		}
	}
	if len(plan.Diffs) == 0 {
		t.Fatal("there is no example")
	}
	for _, c := range plan.Diffs[0].Changes {
		if text := c.Before + c.After; strings.Contains(text, "jane@") || strings.Contains(text, "user-1") || strings.Contains(text, "12345678") {
			t.Errorf("the difference shows %+v", c)
		}
	}
}

// Somebody may decide about letters while the canary is waited for.
func TestWhatIsDiscardedDuringTheCanaryIsNotReplayed(t *testing.T) {
	o := newOffice(t)
	o.dead(many(6, o.click)...)
	plan := o.plan("")
	done, err := o.tryApply(t.Context(), plan, func(a *ApplyOptions) {
		a.Canary, a.Wait = 2, 0
		a.MinSuccess = 1e-9
		a.GoOn = func(*Verification) bool {
			pinned, err := o.desk.PlanDiscard(t.Context(), DiscardOptions{Filter: o.filter("")})
			if err != nil || pinned.Count != 4 {
				t.Errorf("%+v, %v", pinned, err)
				return false
			}
			_, err = o.desk.Discard(t.Context(), pinned, "jane", "test orders")
			return err == nil
		}
		a.Progress = func(n Applied) {
			if n.Written == 2 {
				o.work(delivered)
			}
		}
	})
	if err != nil || done.Written != 2 || done.Passed != 4 {
		t.Errorf("%+v, %v", done, err)
	}
}

// The first letter of another cluster's topic may come from the same place.
func TestAPlanOfAnotherClusterIsStale(t *testing.T) {
	here, there := newOffice(t), newOffice(t)
	here.dead(here.click(1))
	for written := time.Now().UnixMilli(); time.Now().UnixMilli() == written; {
		time.Sleep(time.Millisecond) // letters are told apart by their milliseconds
	}
	there.dead(there.click(1))
	plan := here.plan("")
	c := here.check()
	if err := here.desk.Stale(t.Context(), plan, &c); err != nil {
		t.Fatal(err)
	}
	if err := there.desk.Stale(t.Context(), plan, &c); err == nil {
		t.Error("the plan of another cluster passes")
	}
}

// A state topic that newer or foreign programs wrote to is no reason to apply what is no plan of this one.
func TestAKeptPlanIsReadAsStrictlyAsAFile(t *testing.T) {
	o := newOffice(t)
	for _, text := range []string{`{"schema":"eventworker.dlq.plan/v2","id":"p-00000001","topic":"shop.dead"}`, `{"schema":"eventworker.dlq.plan/v1","id":"p-00000002","topic":"shop.dead"}`} {
		rec := &kgo.Record{Topic: "shop.dead.state", Key: []byte("replay:p-00000001"), Value: []byte(text)}
		if err := o.client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if p, err := o.desk.KeptPlan(t.Context(), "p-00000001"); err == nil {
			t.Errorf("%s is taken: %+v", text, p)
		}
	}
}

// JSON may be written in several ways: a plan is the same in each, and its edit too.
func TestAPlanIsTheSameHoweverItIsWritten(t *testing.T) {
	o := newOffice(t)
	o.dead(many(6, o.badPrice)...)
	edit := o.edit("[{\"op\":\"rewrite\",\"path\":\"/items/*/price\",\"match\":\"^(?P<a>[0-9]+),([0-9]+)$\",\"with\":\"$1.$2\"},{\"op\":\"add\",\"path\":\"/x\",\"value\":\"a&b\u009b\u2028\"}]")
	plan := o.plan("", func(p *PlanOptions) { p.Edit = edit })
	plan.Note = "said when it was carried out"
	plain, _ := json.Marshal(plan)
	indented, _ := json.MarshalIndent(plan, "", "  ")
	var open bytes.Buffer
	enc := json.NewEncoder(&open)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(plan); err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{plain, indented, open.Bytes(), QuietJSON(open.Bytes())} {
		if _, err := ParsePlan(text); err != nil {
			t.Errorf("%v: %s", err, text)
		}
	}
	for _, change := range [][2]string{{`"target":"shop.replay"`, `"target":""`}, {`"letters":"0-2"`, `"letters":"1-3"`}, {`"max_replays":3`, `"max_replays":9`}, {`"group":"g"`, `"group":"h"`}} {
		wrong := strings.Replace(string(plain), change[0], change[1], 1)
		var call *CallError
		if _, err := ParsePlan([]byte(wrong)); wrong == string(plain) || !errors.As(err, &call) {
			t.Errorf("%s: %v", change[1], err)
		}
	}
}
