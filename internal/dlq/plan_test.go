package dlq

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"eventworker/internal/check"
	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/join"
)

// counts of a plan's verdicts.
func (p *Plan) counts() map[string]int64 {
	n := map[string]int64{}
	for _, v := range p.Verdicts {
		n[v.Verdict] += v.Count
	}
	return n
}

func TestAPlanSaysOfEachLetterWhatAReplayWouldDo(t *testing.T) {
	o := newOffice(t)
	o.dead(many(7, o.badPrice)...)
	o.dead(many(5, o.old)...)
	o.dead(many(4, o.click)...)
	o.dead(`{"type":"recommendation.clicked"}`, `{`, strings.Replace(o.click(1), "{", `{"application":"other",`, 1))
	plan := o.plan("", func(p *PlanOptions) { p.Edit = o.edit(mendPrices) })
	want := map[string]int64{PassAfterEdit: 7, Pass: 4, TooOld: 5, StillInvalid: 2, NotServed: 1}
	if got := plan.counts(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
	if plan.Changed != 7 || plan.Unchanged != 12 || len(plan.Diffs) != 3 || !strings.Contains(fmt.Sprint(plan.Diffs[0].Changes), `"10,90"`) && !strings.Contains(fmt.Sprint(plan.Diffs), ",90") {
		t.Errorf("changed %d, unchanged %d, %v", plan.Changed, plan.Unchanged, plan.Diffs)
	}
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParsePlan(text)
	if err != nil {
		t.Fatal(err)
	}
	if text2, _ := json.Marshal(again); !bytes.Equal(text2, text) {
		t.Errorf("%s\nis read as\n%s", text, text2)
	}
	if len(o.replayed()) != 0 {
		t.Error("a plan wrote something")
	}
	opts := o.check()
	if err := o.desk.Stale(t.Context(), plan, &opts); err != nil {
		t.Error(err)
	}
}

func TestAPlanCountsWhatSoonGetsTooOld(t *testing.T) {
	o := newOffice(t)
	o.dead(many(4, o.click)...)
	o.now = o.now.Add(94 * time.Hour)
	plan := o.plan("")
	if plan.Planned != 4 || plan.Verdicts[0].Soon != 4 || plan.Soon != 6 {
		t.Errorf("%+v", plan.Verdicts)
	}
}

func TestAPlanIsRefusedWhenWhatItStandsOnChanged(t *testing.T) {
	o := newOffice(t)
	o.dead(many(9, o.click)...)
	plan := o.plan("")
	stale := func(change func(p *Plan)) string {
		t.Helper()
		text, _ := json.Marshal(plan)
		p, err := ParsePlan(text)
		if err != nil {
			t.Fatal(err)
		}
		change(p)
		opts := o.check()
		err = o.desk.Stale(t.Context(), p, &opts)
		var want *StaleError
		if !errors.As(err, &want) {
			t.Fatalf("taken: %v", err)
		}
		return err.Error()
	}
	for want, change := range map[string]func(*Plan){
		"rules":             func(p *Plan) { p.Digests.Rules = "x" },
		"configuration":     func(p *Plan) { p.Digests.Configuration = "x" },
		"kafka.replay":      func(p *Plan) { p.Target = "elsewhere" },
		"kafka.dead_letter": func(p *Plan) { p.Topic = "elsewhere" },
		"kafka.group":       func(p *Plan) { p.Group = "elsewhere" },
		"ends at":           func(p *Plan) { p.Partitions[1].Letters.add(9) },
		"another letter":    func(p *Plan) { p.Partitions[1].First = "shop/1/7" },
		"is gone":           func(p *Plan) { p.Partitions[1].Partition = 8 },
	} {
		if got := stale(change); !strings.Contains(got, want) {
			t.Errorf("%s: %s", want, got)
		}
	}
	o.rules.MaxEventAge--
	if got := stale(func(*Plan) {}); !strings.Contains(got, "configuration") {
		t.Error(got)
	}
	o.rules.MaxEventAge++
	res, err := o.client.Request(t.Context(), deleteRecords("shop.dead", 1, 2))
	if err != nil {
		t.Fatal(err, res)
	}
	if got := stale(func(*Plan) {}); !strings.Contains(got, "shortened") {
		t.Error(got)
	}
}

func TestPlansThatWereChangedByHandAreRefused(t *testing.T) {
	o := newOffice(t)
	o.dead(many(6, o.badPrice)...)
	plan := o.plan("", func(p *PlanOptions) { p.Edit = o.edit(mendPrices) })
	text, _ := json.Marshal(plan)
	for name, wrong := range map[string]string{
		"letters":    strings.Replace(string(text), `"letters":"0-2"`, `"letters":"0-1"`, 1),
		"edit":       strings.Replace(string(text), `$1.$2`, `$2.$1`, 1),
		"schema":     strings.Replace(string(text), PlanSchema, "eventworker.dlq.list/v1", 1),
		"no JSON":    "{",
		"descending": strings.Replace(string(text), `"letters":"0-2"`, `"letters":"1-2,0-1"`, 1),
	} {
		var call *CallError
		if _, err := ParsePlan([]byte(wrong)); !errors.As(err, &call) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheLastLetterOfAMessageIsTheOneThatCounts(t *testing.T) {
	o := newOffice(t)
	o.dead(many(6, o.click)...)
	first := o.plan("")
	o.apply(first)
	o.work(func(deadletter.Record) string { return deadletter.OutcomeDead })
	check := func(why string) {
		t.Helper()
		p := o.plan("")
		if got := p.counts(); got[Pass] != 6 || got[ReplayedBefore] != 6 {
			t.Errorf("%s: %v", why, got)
		}
		for _, one := range p.Partitions {
			if one.Letters.String() != "2-4" {
				t.Errorf("%s: partition %d has %s", why, one.Partition, one.Letters)
			}
		}
	}
	check("with states")
	o.desk.Topics.State = "nowhere" // nothing is known of states
	check("without states")
}

func TestALetterThatWasWrittenTwiceIsPlannedOnce(t *testing.T) {
	o := newOffice(t)
	o.dead(many(3, o.click)...)
	o.next = [shopPartitions]int64{} // a worker that died read them again
	o.dead(many(3, o.click)...)
	plan := o.plan("")
	if got := plan.counts(); got[Pass] != 3 || got[Duplicate] != 3 {
		t.Errorf("%v", got)
	}
	o.apply(plan)
	o.once(3)
}

func TestLettersOfAnotherGroupAreLeftToIt(t *testing.T) {
	o := newOffice(t)
	o.dead(o.click(1), o.click(2))
	other := *o.desk
	other.Group = "another"
	for anyGroup, want := range map[bool]int64{false: 0, true: 2} {
		plan, _, err := other.Plan(t.Context(), PlanOptions{Filter: o.filter(""), Check: o.check(), AnyGroup: anyGroup})
		if err != nil || plan.Planned != want || plan.counts()[OtherGroup] != 2-want {
			t.Errorf("%v: %+v, %v", anyGroup, plan, err)
		}
	}
}

func TestADiscardLeavesLettersOfAnotherGroupToIt(t *testing.T) {
	o := newOffice(t)
	o.dead(o.click(1), o.click(2))
	other := *o.desk
	other.Group = "another"
	for _, c := range []struct {
		anyGroup bool
		want     int64
	}{{false, 0}, {true, 2}} {
		pinned, err := other.PlanDiscard(t.Context(), DiscardOptions{Filter: o.filter(""), AnyGroup: c.anyGroup})
		if err != nil || pinned.Count != c.want || pinned.OtherGroup != 2-c.want {
			t.Errorf("%v: %+v, %v", c.anyGroup, pinned, err)
		}
		if _, err := other.Discard(t.Context(), pinned, "jane", "theirs"); err != nil {
			t.Fatal(err)
		}
		states, err := o.desk.States(t.Context())
		if err != nil || int64(states.Len()) != c.want {
			t.Errorf("%v: %v, %v", c.anyGroup, states, err)
		}
	}
}

func TestLettersWhoseHeadersAreBrokenAreUnreadable(t *testing.T) {
	o := newOffice(t)
	o.dead(o.click(1))
	headers := []kgo.RecordHeader{{Key: deadletter.HeaderVersion, Value: []byte("1")}, {Key: deadletter.HeaderReason, Value: []byte("lost")}}
	if err := o.client.ProduceSync(t.Context(), &kgo.Record{Topic: "shop.dead", Value: []byte("{}"), Headers: headers}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	plan := o.plan("")
	if got := plan.counts(); got[Unreadable] != 1 || got[Pass] != 1 {
		t.Errorf("%v", got)
	}
}

// BenchmarkPlanLetter is the judgement of one letter with an edit.
func BenchmarkPlanLetter(b *testing.B) {
	edit, err := ParseEdit([]byte(mendPrices))
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	value := fmt.Sprintf(`{"type":"recommendation.purchased","userToken":"user-1","timestamp":%d,"currency":"EUR","items":[{"objectID":"sku-1","price":"11,90"},{"objectID":"sku-2","price":"2,50","quantity":3}]}`, now.UnixMilli())
	j := judge{opts: check.Options{AnyApplication: true, Now: now, Rules: join.Config{Window: time.Hour, ClickWindow: time.Hour, MaxEventAge: 95 * time.Hour}}, edit: edit}
	l := LetterOf(0, &consume.Record{Value: []byte(value), Key: []byte("user-1")})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := j.letter(b.Context(), l); err != nil {
			b.Fatal(err)
		}
	}
}
