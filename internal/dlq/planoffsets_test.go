package dlq

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestOffsetsAreTheSetThatWasAdded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfDistinct(rapid.Int64Range(0, 60), rapid.ID[int64]).Draw(t, "offsets")
		slices.Sort(list)
		var set offsets
		for _, o := range list {
			set.add(o)
		}
		text, _ := set.MarshalText()
		var again offsets
		if err := again.UnmarshalText(text); err != nil || again.String() != set.String() {
			t.Fatalf("%s is read as %s, %v", text, again, err)
		}
		if set.count() != int64(len(list)) {
			t.Fatalf("%d of %v", set.count(), list)
		}
		for o := range int64(62) {
			i, there := slices.BinarySearch(list, o)
			if set.has(o) != there {
				t.Fatalf("%v has %d: %v", set, o, !there)
			}
			next, ok := set.next(o)
			if ok != (i < len(list)) || ok && next != list[i] {
				t.Fatalf("after %d comes %d, %v", o, next, ok)
			}
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		var sets [2]offsets
		var lists [2][]int64
		for i := range sets {
			lists[i] = rapid.SliceOfDistinct(rapid.Int64Range(0, 30), rapid.ID[int64]).Draw(t, "offsets")
			slices.Sort(lists[i])
			for _, o := range lists[i] {
				sets[i].add(o)
			}
		}
		left := sets[0].without(sets[1])
		for o := range int64(31) {
			if left.has(o) != (sets[0].has(o) && !sets[1].has(o)) {
				t.Fatalf("%v without %v is %v", sets[0], sets[1], left)
			}
		}
	})
	for _, wrong := range []string{"1", "2-2", "3-1", "-1-2", "5-7,6-8", "5-7,1-2", "a-b", ","} {
		if err := new(offsets).UnmarshalText([]byte(wrong)); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}
