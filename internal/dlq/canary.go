package dlq

import (
	"context"
	"errors"
	"maps"
	"slices"
)

// defaultMinSuccess is the share of a canary's letters that must end well.
const defaultMinSuccess = 0.95

// ErrNoCanary says that none of the canary's letters was written: nothing more was, since they would tell nothing
// of the others.
var ErrNoCanary = errors.New("the canary came to nothing: meanwhile its letters were replayed otherwise or discarded, or cannot be replayed any more")

// canary puts the first letters, spread over causes and partitions, waits until they are settled, and asks
// whether to go on. Where some of the plan were written before, by a canary or by a call that was
// interrupted, those count. It gives the letters that it took.
func (a *apply) canary(ctx context.Context) (map[int32]offsets, error) {
	chosen, err := a.choose(ctx)
	if err != nil || len(chosen) == 0 {
		return nil, err
	}
	return chosen, a.canaryOf(ctx, chosen)
}

func (a *apply) canaryOf(ctx context.Context, chosen map[int32]offsets) error {
	f, err := a.d.newFollower(a.p, a.o.Mask)
	if err != nil {
		return err
	}
	defer f.close()
	for _, partition := range slices.Sorted(maps.Keys(chosen)) {
		c := &reading{partition: partition, letters: chosen[partition]}
		for more := true; more; {
			if err := a.look(ctx); err != nil {
				return err
			}
			if more, err = a.some(ctx, c); err != nil {
				return err
			}
		}
	}
	if a.o.DryRun {
		return nil
	}
	a.tell(true)
	for _, partition := range slices.Sorted(maps.Keys(chosen)) {
		err := a.d.each(ctx, a.p.Topic, &reading{partition: partition, letters: chosen[partition]}, func(l *Letter) {
			if source := l.Source(); a.held.has(source) { // else it is too old by now
				f.follow(source, l.Cause())
			}
		})
		if err != nil {
			return err
		}
	}
	if f.letters.len() == 0 {
		return ErrNoCanary
	}
	v, err := f.await(ctx, a.o.Wait, nil)
	if err != nil {
		return err
	}
	a.n.Canary = v
	least := a.o.MinSuccess
	if least <= 0 {
		least = defaultMinSuccess
	}
	if v.Share() < least {
		return &CanaryError{Share: v.Share(), Least: least, Unsettled: v.Unsettled, Unknown: v.Unknown}
	}
	if a.o.GoOn != nil && v.Planned < a.p.Planned && !a.o.GoOn(v) {
		return ErrDeclined
	}
	return ctx.Err()
}

// choose picks the letters of the canary: those that were written before, as many as it has, and then of
// each cause and partition in turn the first ones that are still to be written. It gives none where nothing of
// the plan is to be written any more.
func (a *apply) choose(ctx context.Context) (map[int32]offsets, error) {
	type group struct {
		cause     string
		partition int32
	}
	groups := map[group][]int64{}
	picked := map[int32][]int64{}
	left := a.o.Canary
	a.judge.opts.Now = a.o.Clock()
	for i := range a.p.Partitions {
		one := &a.p.Partitions[i]
		c := &reading{partition: one.Partition, letters: one.Letters}
		var unjudged error
		err := a.d.each(ctx, a.p.Topic, c, func(l *Letter) {
			if a.held.has(l.Source()) {
				if left > 0 {
					picked[l.Partition] = append(picked[l.Partition], l.Offset)
					left--
				}
				return
			}
			g := group{l.Cause(), l.Partition}
			if len(groups[g]) >= a.o.Canary || unjudged != nil {
				return
			}
			var goes bool
			if goes, unjudged = a.goes(ctx, l); goes {
				groups[g] = append(groups[g], l.Offset)
			}
		})
		if err = errors.Join(err, unjudged); err != nil {
			return nil, err
		}
	}
	order := slices.SortedFunc(maps.Keys(groups), func(x, y group) int {
		if x.partition != y.partition {
			return int(x.partition) - int(y.partition)
		}
		return slices.Compare([]byte(x.cause), []byte(y.cause))
	})
	byCause := map[string][]group{}
	for _, g := range order {
		byCause[g.cause] = append(byCause[g.cause], g)
	}
	causes := slices.Sorted(maps.Keys(byCause))
	for more := true; left > 0 && more; {
		more = false
		for _, cause := range causes {
			of := byCause[cause]
			if left == 0 || len(of) == 0 {
				continue
			}
			more = true
			g := of[0]
			picked[g.partition] = append(picked[g.partition], groups[g][0])
			left--
			if groups[g] = groups[g][1:]; len(groups[g]) > 0 {
				of = append(of[1:], g)
			} else {
				of = of[1:]
			}
			byCause[cause] = of
		}
	}
	out := map[int32]offsets{}
	for partition, list := range picked {
		slices.Sort(list)
		var set offsets
		for _, o := range slices.Compact(list) {
			set.add(o)
		}
		out[partition] = set
	}
	return out, nil
}

// goes says whether a letter would be written if it were its turn now.
func (a *apply) goes(ctx context.Context, l *Letter) (bool, error) {
	if a.standing(l.Source(), l.ReplayID()) != stands {
		return false, nil
	}
	j, err := a.judge.letter(ctx, l)
	return err == nil && j.refusal == nil, err
}
