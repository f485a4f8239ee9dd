package storefront

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"eventworker/internal/insightsfake"
)

var _ Accepted = (*insightsfake.Accepted)(nil)

// arrived is what a worker without faults makes of a log.
type arrived struct {
	truth   *Truth
	counts  Counts
	letters []DeadLetter
	events  map[insightsfake.Digest]insightsfake.Event
	of      map[string][]*Verdict // verdicts by outcome and reason
}

func arriveAll(t *testing.T, c Config) *arrived {
	t.Helper()
	a := &arrived{counts: Counts{}, events: map[insightsfake.Digest]insightsfake.Event{}, of: map[string][]*Verdict{}}
	a.truth = truthOf(t, c, func(v *Verdict) {
		for _, e := range v.Events {
			a.counts[e.Digest()]++
			a.events[e.Digest()] = e
		}
		if v.Outcome == DeadLettered {
			a.letters = append(a.letters, DeadLetter{v.Seq, v.Reason, v.Parts})
		}
		key := strings.TrimSpace(string(v.Outcome) + " " + v.Reason)
		a.of[key] = append(a.of[key], v)
	})
	return a
}

func (a *arrived) compare() *Report {
	return a.truth.Compare(Arrived{Accepted: a.counts, DeadLetters: a.letters, Event: Known(slices.Collect(maps.Values(a.events)))}, 10)
}

func (a *arrived) arrive(e insightsfake.Event) {
	a.counts[e.Digest()]++
	a.events[e.Digest()] = e
}

// clone allows a case to change what arrived.
func (a *arrived) clone() *arrived {
	b := *a
	b.counts, b.events, b.letters = maps.Clone(a.counts), maps.Clone(a.events), slices.Clone(a.letters)
	return &b
}

func (a *arrived) dropLetter(seq uint64) {
	a.letters = slices.DeleteFunc(a.letters, func(l DeadLetter) bool { return l.Seq == seq })
}

func TestComparisonFindsEachKindOfDifference(t *testing.T) {
	c := testConfig(5000)
	all := arriveAll(t, c)
	delivered, refused, duplicates := all.of["delivered"][100], all.of["dead-lettered rejected"], all.of["absorbed duplicate"]
	withEvents := refused[slices.IndexFunc(refused, func(v *Verdict) bool { return len(v.Parts) > 0 })]
	event := delivered.Events[0]
	wrong := event
	wrong.Index = "elsewhere"
	stranger := event
	stranger.UserToken = "nobody"
	for _, tt := range []struct {
		name   string
		change func(a *arrived)
		seq    int64
		class  Class
		tells  []string // what the difference says
	}{
		{"missing event", func(a *arrived) { delete(a.counts, event.Digest()) }, int64(delivered.Seq), Missing, []string{`"index":"` + event.Index + `"`}},
		{"wrong event", func(a *arrived) { delete(a.counts, event.Digest()); a.arrive(wrong) }, int64(delivered.Seq), Wrong,
			[]string{`"index":"` + event.Index + `"`, `"index":"elsewhere"`}},
		{"surplus event", func(a *arrived) { a.arrive(wrong) }, int64(delivered.Seq), Surplus, []string{`"index":"elsewhere"`}},
		{"event of nobody", func(a *arrived) { a.arrive(stranger) }, -1, "unexpected event", []string{`"userToken":"nobody"`}},
		{"event of nobody, unknown but for its digest", func(a *arrived) { a.counts[stranger.Digest()]++ }, -1, "unexpected event",
			[]string{stranger.Digest().String()}},
		{"event of an absorbed copy's changed twin", func(a *arrived) {
			twin := a.of["absorbed duplicate"][0]
			e := insightsfake.Event{EventType: "conversion", UserToken: "w", Timestamp: int64(twin.Seq)}
			a.arrive(e)
		}, -1, "unexpected event", nil},
		{"unexpected dead letter", func(a *arrived) {
			a.letters = append(a.letters, DeadLetter{Seq: delivered.Seq, Reason: "no-index"})
		}, int64(delivered.Seq), LetterUnexpected, []string{"no-index", "delivered"}},
		{"dead letter of an absorbed message", func(a *arrived) {
			a.letters = append(a.letters, DeadLetter{Seq: duplicates[0].Seq, Reason: "expired"})
		}, int64(duplicates[0].Seq), LetterUnexpected, []string{"absorbed (duplicate)", "expired"}},
		{"missing dead letter", func(a *arrived) { a.dropLetter(refused[0].Seq) }, int64(refused[0].Seq), LetterMissing, []string{"rejected"}},
		{"wrong reason", func(a *arrived) {
			a.dropLetter(refused[0].Seq)
			a.letters = append(a.letters, DeadLetter{refused[0].Seq, "expired", nil})
		},
			int64(refused[0].Seq), LetterWrong, []string{"expired", "rejected"}},
		{"wrong parts", func(a *arrived) {
			a.dropLetter(withEvents.Seq)
			a.letters = append(a.letters, DeadLetter{withEvents.Seq, "rejected", append(slices.Clone(withEvents.Parts), 99)})
		}, int64(withEvents.Seq), LetterWrong, []string{"99"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := all.clone()
			tt.change(a)
			r := a.compare()
			if r.Matches() || !r.AddsUp() {
				t.Fatalf("matches %v, adds up %v: %+v", r.Matches(), r.AddsUp(), r)
			}
			if len(r.Differences) != 1 {
				t.Fatalf("%d differences, want one: %+v", len(r.Differences), r.Differences)
			}
			d := r.Differences[0]
			if d.Seq != tt.seq || d.Class != tt.class {
				t.Errorf("message %d is %s, want message %d %s", d.Seq, d.Class, tt.seq, tt.class)
			}
			var text bytes.Buffer
			if err := r.WriteText(&text); err != nil {
				t.Fatal(err)
			}
			for _, want := range tt.tells {
				if !strings.Contains(text.String(), want) {
					t.Errorf("the report does not tell %s:\n%s", want, text.String())
				}
			}
			if tt.seq >= 0 && r.Messages.Different[tt.class] != 1 {
				t.Errorf("messages %+v, want one %s", r.Messages, tt.class)
			}
		})
	}
}

func TestComparisonOfWhatMustComeMatches(t *testing.T) {
	a := arriveAll(t, testConfig(5000))
	r := a.compare()
	if !r.Matches() || !r.AddsUp() || len(r.Differences) > 0 {
		t.Fatalf("matches %v, adds up %v: %+v", r.Matches(), r.AddsUp(), r)
	}
	if r.Messages.Total != 5000 || r.Events.Expected == 0 || r.Messages.DeadLettered["malformed"] == 0 || r.Messages.Absorbed["tombstone"] == 0 {
		t.Errorf("%+v", r)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func TestNothingArrivedIsToldInBounds(t *testing.T) {
	a := arriveAll(t, testConfig(5000))
	a.counts, a.letters = Counts{}, nil
	r := a.compare()
	if r.Matches() || !r.AddsUp() || len(r.Differences) != 10 || r.Events.Missing != r.Events.Expected {
		t.Errorf("matches %v, adds up %v, %d differences told, %+v", r.Matches(), r.AddsUp(), len(r.Differences), r.Events)
	}
	if r.Messages.Different[Missing] == 0 || r.Messages.Different[LetterMissing] == 0 {
		t.Errorf("%+v", r.Messages.Different)
	}
}

func TestDuplicatesAreToldApartAndAllowedInFlightAtAKill(t *testing.T) {
	a := arriveAll(t, testConfig(5000))
	v, letter := a.of["delivered"][7], a.letters[3]
	a.counts[v.Events[0].Digest()] += 2
	a.letters = append(a.letters, letter)
	r := a.compare()
	if r.Matches() || !r.AddsUp() || r.Duplicates.Unexplained != 3 || r.Events.Duplicated != 2 || r.DeadLetters.Duplicated != 1 {
		t.Errorf("%+v", r)
	}
	if want := []uint64{v.Seq, letter.Seq}; !reflect.DeepEqual(r.Duplicates.Seqs, want) {
		t.Errorf("duplicates of %v, want %v", r.Duplicates.Seqs, want)
	}
	if len(r.Messages.Different) > 0 {
		t.Errorf("a repeat is a difference: %+v", r.Messages)
	}
	r = a.truth.Compare(Arrived{Accepted: a.counts, DeadLetters: a.letters, InFlight: func(seq uint64) bool { return seq == v.Seq }}, 10)
	if r.Matches() || r.Duplicates.InFlight != 2 || r.Duplicates.Unexplained != 1 {
		t.Errorf("%+v", r.Duplicates)
	}
	r = a.truth.Compare(Arrived{Accepted: a.counts, DeadLetters: a.letters, InFlight: func(uint64) bool { return true }}, 10)
	if !r.Matches() || !r.AddsUp() {
		t.Errorf("what was in flight may come twice: %+v", r)
	}
}

func TestAnEventThatMustComeTwiceMustComeTwice(t *testing.T) {
	truth := NewTruth(DefaultRules())
	truth.rules.Now = base
	truth.Add(messageOf(t, 0, `0 shown {"lists":[{"index":"products","objectIDs":["a"]},{"index":"products","objectIDs":["a"]}]}`))
	truth.Seal()
	d := truth.expected.bySeq()[0].digest
	for times, matches := range []bool{false, false, true, false} {
		r := truth.Compare(Arrived{Accepted: Counts{d: uint32(times)}}, 5)
		if r.Matches() != matches || !r.AddsUp() {
			t.Errorf("it came %d times: matches %v, want %v: %+v", times, r.Matches(), matches, r.Events)
		}
	}
}

func TestTruthSurvivesItsFile(t *testing.T) {
	a := arriveAll(t, testConfig(5000))
	var file bytes.Buffer
	if _, err := a.truth.WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	text := file.String()
	read, err := ReadTruth(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if n, err := read.WriteTo(&again); err != nil || n != int64(len(text)) {
		t.Fatalf("%d bytes of %d, %v", n, len(text), err)
	}
	if again.String() != text {
		t.Error("what was read is written otherwise")
	}
	a.truth = read
	if r := a.compare(); !r.Matches() {
		t.Errorf("%+v", r)
	}
	// What the file says of the generator explains a difference as well.
	v := a.of["delivered"][50]
	delete(a.counts, v.Events[0].Digest())
	if r := a.compare(); len(r.Differences) != 1 || len(r.Differences[0].Missing) != 1 ||
		!strings.Contains(r.Differences[0].Missing[0], v.Events[0].UserToken) {
		t.Errorf("%+v", r.Differences)
	}
	for _, cut := range []string{"", text[:len(text)/2], strings.Replace(text, `"version":1`, `"version":2`, 1),
		strings.Replace(text, `"delivered"`, `"lost"`, 1), strings.Replace(text, `{"seq":3,`, `{"seq":4,`, 1)} {
		if _, err := ReadTruth(strings.NewReader(cut)); err == nil {
			t.Errorf("a damaged file of %d bytes was read", len(cut))
		}
	}
	if _, err := NewTruth(DefaultRules()).WriteTo(&again); err == nil {
		t.Error("a truth that is not sealed was written")
	}
}
