package main

import (
	"math"
	"testing"

	"eventworker/internal/event"
)

// The figures of docs/performance.md speak of this traffic.
func TestTrafficIsWhatTheDocumentsSay(t *testing.T) {
	const n = 100_000
	for _, c := range []struct {
		traffic             *traffic
		bytes, events       float64
		shown, clicked, buy float64
	}{
		{newMix(1, n, 1_764_000_000_000), 434, 1.33, 0.7, 0.2, 0.1},
		{newIDs(1, n, 1_764_000_000_000), 347, 1, 0, 0.5, 0.5},
	} {
		t.Run(c.traffic.Name, func(t *testing.T) {
			d := event.NewDecoder(event.Options{})
			var ev event.Event
			var r record
			var bytes, events int
			var types [event.Purchased + 1]int
			for i := range c.traffic.all() {
				c.traffic.at(&r, i)
				if refusal := d.Decode(r.Value, &ev); refusal != nil {
					t.Fatalf("message %d is refused: %s: %s", i, refusal.Message, r.Value)
				}
				if string(ev.UserToken) != string(r.Key) {
					t.Fatalf("message %d has the key %s", i, r.Key)
				}
				bytes += len(r.Value)
				events += r.Events
				types[ev.Type]++
			}
			near := func(what string, got, want, by float64) {
				t.Helper()
				if math.Abs(got-want) > by {
					t.Errorf("%s: %.3f, want %.3f", what, got, want)
				}
			}
			near("bytes a message", float64(bytes)/n, c.bytes, 5)
			near("events a message", float64(events)/n, c.events, 0.01)
			near("shown", float64(types[event.Shown])/n, c.shown, 0.01)
			near("clicked", float64(types[event.Clicked])/n, c.clicked, 0.01)
			near("bought", float64(types[event.AddedToCart]+types[event.Purchased])/n, c.buy, 0.01)
		})
	}
}

func TestClicksAndPurchasesNameObjectsOfTheirList(t *testing.T) {
	mix := newMix(7, 300_000, 1_764_000_000_000)
	d := event.NewDecoder(event.Options{})
	var ev event.Event
	var r, list record
	var misses, clicks int
	for i := 250_000; i < mix.Messages; i++ {
		if mix.kind(i) != clicked {
			continue
		}
		clicks++
		from, _ := mix.origin(i, missesClicked, clickNearest, clickSpread)
		if from == i {
			misses++
			continue
		}
		if i-from < clickNearest {
			t.Fatalf("message %d follows its list %d too soon", i, from)
		}
		mix.at(&r, i)
		mix.at(&list, from)
		if refusal := d.Decode(list.Value, &ev); refusal != nil || ev.Type != event.Shown || r.Partition != list.Partition || string(r.Key) != string(list.Key) {
			t.Fatalf("message %d does not come from list %d", i, from)
		}
		objects := make(map[string]bool)
		for _, o := range ev.Lists[0].ObjectIDs {
			objects[string(o)] = true
		}
		if refusal := d.Decode(r.Value, &ev); refusal != nil {
			t.Fatal(refusal)
		}
		if !objects[string(ev.Objects[0].ID)] {
			t.Fatalf("message %d clicks %s, which list %d does not show", i, ev.Objects[0].ID, from)
		}
	}
	if share := float64(misses) / float64(clicks); math.Abs(share-0.05) > 0.01 {
		t.Errorf("%.3f of the clicks come from no list", share)
	}
}
