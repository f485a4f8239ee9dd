package dlq

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"eventworker/internal/consume"
	"eventworker/internal/deadletter"
	"eventworker/internal/event"
)

func noteOf(headers []deadletter.Header) (notes []string) {
	for _, h := range headers {
		if h.Key == HeaderNote {
			notes = append(notes, string(h.Value))
		}
	}
	return notes
}

func TestAReplayedRecordSaysWhyAndItsNextDeadLetterDoesNot(t *testing.T) {
	o := newOffice(t)
	o.dead(o.click(1))
	o.apply(o.plan("", func(p *PlanOptions) { p.Note = "a bad deploy\n\x1b[31mof " + strings.Repeat("Ä", 200) }))
	r := o.replayed()[0]
	notes := noteOf(r.Headers)
	if len(notes) != 1 || !strings.HasPrefix(notes[0], "a bad deploy  [31mof Ä") || len(notes[0]) > maxHeaderNote || len(notes[0]) < maxHeaderNote-1 || !utf8.ValidString(notes[0]) {
		t.Errorf("%q", notes)
	}
	if _, err := deadletter.DecodeReplayed(r.Headers); err != nil {
		t.Errorf("the worker cannot read it: %v", err)
	}
	// Dead again and replayed again, each time with a note of its own.
	for _, note := range []string{"once more", ""} {
		again := deadletter.Encode(o.letter(string(r.Value), consume.Record{Offset: r.Offset, Key: r.Key, Value: r.Value, Headers: r.Headers}, "shop.replay", r.Partition), "g")
		if notes := noteOf(again.Headers); len(notes) != 0 {
			t.Errorf("the dead letter has the note %q", notes)
		}
		o.work(func(deadletter.Record) string { return deadletter.OutcomeDead })
		o.apply(o.plan("", func(p *PlanOptions) { p.Note = note }))
		want := note
		if want == "" {
			want = "jane@desk"
		}
		all := o.replayed()
		r = all[len(all)-1]
		if notes := noteOf(r.Headers); len(notes) != 1 || notes[0] != want {
			t.Errorf("%q, want %q", notes, want)
		}
	}
}

// A record that only its note makes too large goes without.
func TestARecordThatOnlyItsNoteMakesTooLargeGoesWithoutIt(t *testing.T) {
	o := newOffice(t)
	refuseReplaysWith(o, "too long a story")
	o.dead(many(6, o.click)...)
	if n := o.apply(o.plan("", func(p *PlanOptions) { p.Note = "too long a story" })); n.Written != 6 || n.Refused != 0 {
		t.Errorf("%+v", n)
	}
	o.once(6)
	for _, r := range o.replayed() {
		if notes := noteOf(r.Headers); len(notes) != 0 {
			t.Errorf("%q", notes)
		}
	}
}

func TestANoteIsBounded(t *testing.T) {
	if CheckNote(strings.Repeat("x", MaxNote)) != nil || CheckNote(strings.Repeat("x", MaxNote+1)) == nil {
		t.Error("the bound is not kept")
	}
	if n := len((&Plan{Note: event.Invalid.String()}).noteHeader()); n != len("invalid") {
		t.Errorf("%d bytes", n)
	}
}

// refuseReplaysWith makes the replay topic refuse, as too large, each batch in which a text stands.
func refuseReplaysWith(o *office, text string) {
	o.cluster.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		o.cluster.KeepControl()
		produce := req.(*kmsg.ProduceRequest)
		if produce.Topics[0].Topic == "shop.replay" && bytes.Contains(produce.Topics[0].Partitions[0].Records, []byte(text)) {
			return refusal(produce, kerr.MessageTooLarge), nil, true
		}
		return nil, nil, false
	})
}
