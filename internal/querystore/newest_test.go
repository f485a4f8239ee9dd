package querystore

import (
	"testing"

	"pgregory.net/rapid"
)

func TestNewestRecordsOfASegmentAreAllKnownOrSaidNotToBe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := newestRecords{floor: minTime}
		var times []int64
		seed := rapid.Uint64().Draw(t, "seed")
		spread := rapid.SampledFrom([]uint64{1, 5, 1000, 1 << 40}).Draw(t, "spread")
		rising := rapid.Int64Range(0, 2000).Draw(t, "rise")
		for i := range rapid.IntRange(0, 5000).Draw(t, "records") {
			time := int64(i)*rising + int64(mix(seed+uint64(i))%spread)
			times = append(times, time)
			n.note(uint64(i), time)
		}
		if rapid.Bool().Draw(t, "trimmed") {
			n.trim()
		}
		newest := int64(minTime)
		for _, time := range times {
			newest = max(newest, time)
		}
		if n.newest() != newest {
			t.Fatalf("newest is %d, not %d", n.newest(), newest)
		}
		if len(n.list) > 2*maxNewest {
			t.Fatalf("%d are kept", len(n.list))
		}
		for i := 0; i < len(times); i += 1 + len(times)/50 {
			before, want := times[i], 0
			for _, time := range times {
				if time >= before {
					want++
				}
			}
			got, all := n.from(before)
			if all && got != want {
				t.Fatalf("from %d on: %d of %d", before, got, want)
			}
			if !all && want <= maxNewest && before > n.floor {
				t.Fatalf("from %d on: %d are not known", before, want)
			}
		}
		for _, r := range n.list {
			if times[r.addr] != r.time {
				t.Fatal("a record that was never there")
			}
		}
	})
}
