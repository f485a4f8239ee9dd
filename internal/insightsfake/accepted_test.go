package insightsfake

import (
	"bytes"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestAcceptedCountsLikeAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a Accepted
		model := map[Digest]uint32{}
		total := 0
		// Few values in each half, so that probes collide and repeats occur.
		digest := rapid.Custom(func(t *rapid.T) Digest {
			return Digest{rapid.Uint64Range(0, 2).Draw(t, "hi"), rapid.Uint64Range(0, 200).Draw(t, "lo") << rapid.SampledFrom([]int{0, 56}).Draw(t, "shift")}
		})
		for _, batch := range rapid.SliceOfN(rapid.SliceOf(digest), 1, 20).Draw(t, "batches") {
			a.add(batch)
			for _, d := range batch {
				model[d]++
				total++
			}
		}
		got := map[Digest]uint32{}
		a.Each(func(d Digest, n int) {
			got[d] = uint32(n)
			if a.Count(d) != n {
				t.Fatalf("Count and Each differ for %v", d)
			}
		})
		if !reflect.DeepEqual(got, model) || a.Total() != int64(total) || a.Distinct() != int64(len(model)) {
			t.Fatalf("%v, total %d, distinct %d: want %v, %d", got, a.Total(), a.Distinct(), model, total)
		}
		if a.Count(Digest{99, 99}) != 0 {
			t.Fatal("an event that never came is counted")
		}
		var listing bytes.Buffer
		if n, err := a.WriteTo(&listing); err != nil || n != int64(listing.Len()) {
			t.Fatalf("wrote %d of %d: %v", n, listing.Len(), err)
		}
		read, err := ReadAccepted(&listing)
		if err != nil || !reflect.DeepEqual(read, model) {
			t.Fatalf("read %v, %v: want %v", read, err, model)
		}
	})
}

func TestACountStaysAtItsLargestValue(t *testing.T) {
	var a Accepted
	d := Digest{1, 2}
	a.add([]Digest{d})
	s := a.shard(d)
	i, _ := s.find(d)
	s.counts[i] = math.MaxUint32
	a.add([]Digest{d})
	if got := a.Count(d); got != math.MaxUint32 {
		t.Errorf("counted %d", got)
	}
}

func TestAListingThatWasCutOffIsAnError(t *testing.T) {
	var a Accepted
	a.add([]Digest{{1, 2}, {3, 4}, {3, 4}, {5, 6}})
	var listing bytes.Buffer
	if _, err := a.WriteTo(&listing); err != nil {
		t.Fatal(err)
	}
	whole := listing.Bytes()
	for n := range whole {
		if _, err := ReadAccepted(bytes.NewReader(whole[:n])); err == nil {
			t.Errorf("the first %d of %d bytes were read without error", n, len(whole))
		}
	}
	missing := append(bytes.Clone(whole[:len(whole)-2*listingEntry]), whole[len(whole)-listingEntry:]...)
	if _, err := ReadAccepted(bytes.NewReader(missing)); err == nil {
		t.Error("a listing without one of its entries was read without error")
	}
	if _, err := ReadAccepted(bytes.NewReader(bytes.ToUpper(whole))); err == nil {
		t.Error("something else was read as a listing")
	}
}

func TestAnotherProcessReadsWhatWasAccepted(t *testing.T) {
	s := New(Options{Now: frozen, Keep: true})
	for range 2 {
		post(s, batchOf(with(viewed), with(purchase)))
	}
	post(s, batchOf(with(click)))
	web := httptest.NewServer(s)
	defer web.Close()
	answer, err := http.Get(web.URL + "/accepted")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	all, err := ReadAccepted(answer.Body)
	if err != nil || len(all) != 3 {
		t.Fatalf("%v, %v: want 3 entries", all, err)
	}
	for d, n := range all {
		if s.Accepted().Count(d) != int(n) {
			t.Errorf("%v came %d times, counted %d", d, n, s.Accepted().Count(d))
		}
	}
	s.Reset()
	if s.Accepted().Total() != 0 || s.Stats().Requests != 0 {
		t.Error("reset left something")
	}
}

// A slot has 20 bytes, so this is the bound that the package states.
func TestAnEventTakesAtMost35Bytes(t *testing.T) {
	var a Accepted
	batch := make([]Digest, 1000)
	for i := range 400 {
		for j := range batch {
			e := Event{Timestamp: int64(i*1000 + j)}
			batch[j] = e.Digest()
		}
		a.add(batch)
	}
	slots := 0
	for i := range a.shards {
		slots += cap(a.shards[i].counts)
	}
	if a.Distinct() != 400_000 {
		t.Fatalf("%d distinct events", a.Distinct())
	}
	if each := float64(slots*20) / 400_000; each > 35 {
		t.Errorf("%.1f bytes an event", each)
	}
}

func TestRecentGivesTheLastEventsInOrder(t *testing.T) {
	s := New(Options{Now: frozen, KeepEvents: 3})
	names := func() (all []string) {
		for _, e := range s.Recent() {
			all = append(all, e.EventName)
		}
		return all
	}
	for _, step := range []struct {
		send []string
		want []string
	}{
		{nil, nil},
		{[]string{"1", "2"}, []string{"1", "2"}},
		{[]string{"3", "4"}, []string{"2", "3", "4"}},
		{[]string{"5", "6", "7", "8", "9"}, []string{"7", "8", "9"}},
	} {
		var events []string
		for _, n := range step.send {
			events = append(events, with(viewed, "eventName", quoted(n)))
		}
		if events != nil {
			if w := post(s, batchOf(events...)); w.Code != 200 {
				t.Fatal(w.Body)
			}
		}
		if got := names(); !reflect.DeepEqual(got, step.want) {
			t.Errorf("after %v: %v, want %v", step.send, got, step.want)
		}
	}
}

func TestOnAcceptSeesEventsWholeAndOnlyWhenTheRequestIsTaken(t *testing.T) {
	var got []Event
	s := New(Options{Now: frozen, Keep: true, OnAccept: func(app string, events []Event) {
		if app != testApp {
			t.Errorf("application %q", app)
		}
		got = append(got, events...)
	}})
	post(s, batchOf(with(purchase), with(viewed, "index", "")))
	if got != nil {
		t.Fatalf("called for a refused request: %+v", got)
	}
	post(s, batchOf(with(purchase), with(clickAfter, "eventName", `"Cl\u0069cked"`)))
	want := []Event{
		{EventType: "conversion", EventSubtype: "purchase", EventName: "Bought", Index: "products", UserToken: "user-1",
			ObjectIDs: []string{"a", "b"}, Currency: "EUR", Value: "10",
			ObjectData: []ObjectData{{Price: "5", Quantity: 1, Discount: "0.5", QueryID: queryA}, {Price: "2.5", Quantity: 2}}},
		{EventType: "click", EventName: "Clicked", Index: "products", UserToken: "user-1",
			ObjectIDs: []string{"a", "b"}, Positions: []int{1, 7}, QueryID: queryA},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestWriteToTellsThatItsWriterFailed(t *testing.T) {
	var a Accepted
	if _, err := a.WriteTo(brokenWriter{}); err == nil {
		t.Error("no error")
	}
}
