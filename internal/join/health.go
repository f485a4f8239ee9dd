package join

import (
	"bytes"
	"sync"

	"eventworker/internal/event"
)

// Health says how attribution goes by type, model and index. A task counts into arrays; whoever adds several
// tasks' up takes them with [Health.Take].
type Health struct {
	// Objects counts the objects of clicks and items of carts and purchases, by index ([Indexes.Name]), type
	// ([HealthTypes]), model ([Models]), and whether they matched. The model is that of the impression that
	// answered, else the one that the message names.
	Objects [][len(HealthTypes)][len(Models)][2]int64
	// Ages are samples of how much earlier the impression (0) or the remembered click (1) of a match was, in
	// milliseconds; of a later one 0. They are those of the first [AgeSamples] matches after each Take.
	Ages [2][]int64
	used bool
}

// AgeSamples bounds the ages that are kept between two calls of [Health.Take].
const AgeSamples = 32

// HealthTypes are the types of messages whose objects are attributed.
var HealthTypes = [...]string{"clicked", "addedToCart", "purchased"}

// Models are the API's models of recommendations (insights-api.md, section 7), any other one, and none.
var Models = [...]string{"related-products", "bought-together", "trending-items", "trending-facets", "looking-similar", "other", "none"}

const (
	otherModel = uint8(len(Models) - 2)
	noModel    = uint8(len(Models) - 1)
)

// modelNumber is the place of a model in Models.
func modelNumber(model []byte) uint8 {
	switch string(model) {
	case "":
		return noModel
	case "related-products":
		return 0
	case "bought-together":
		return 1
	case "trending-items":
		return 2
	case "trending-facets":
		return 3
	case "looking-similar":
		return 4
	}
	return otherModel
}

// ByType adds the objects up by type, and whether they matched.
func (h *Health) ByType() (n [len(HealthTypes)][2]int64) {
	for i := range h.Objects {
		for kind := range h.Objects[i] {
			for model := range h.Objects[i][kind] {
				n[kind][0] += h.Objects[i][kind][model][0]
				n[kind][1] += h.Objects[i][kind][model][1]
			}
		}
	}
	return n
}

// Take adds the objects that h counted to sum and empties h.
func (h *Health) Take(sum *Health) {
	if !h.used {
		return
	}
	for len(sum.Objects) < len(h.Objects) {
		sum.Objects = append(sum.Objects, [len(HealthTypes)][len(Models)][2]int64{})
	}
	for i := range h.Objects {
		for kind := range h.Objects[i] {
			for model := range h.Objects[i][kind] {
				for matched, n := range h.Objects[i][kind][model] {
					sum.Objects[i][kind][model][matched] += n
				}
			}
		}
	}
	clear(h.Objects)
	h.Ages[0], h.Ages[1], h.used = h.Ages[0][:0], h.Ages[1][:0], false
}

// Count adds objects of a type, of no model and no index that is told apart: plain ones and matched ones.
func (h *Health) Count(kind int, n [2]int64) {
	h.cell(otherIndex, kind, noModel)[0] += n[0]
	h.cell(otherIndex, kind, noModel)[1] += n[1]
}

func (h *Health) cell(index, kind int, model uint8) *[2]int64 {
	for len(h.Objects) <= index {
		h.Objects = append(h.Objects, [len(HealthTypes)][len(Models)][2]int64{})
	}
	h.used = true
	return &h.Objects[index][kind][model]
}

func (h *Health) object(index int, kind event.Type, model uint8, matched bool) {
	cell := h.cell(index, int(kind-event.Clicked), model)
	if matched {
		cell[1]++
	} else {
		cell[0]++
	}
}

func (h *Health) age(by int, milliseconds int64) {
	if len(h.Ages[by]) < AgeSamples {
		h.Ages[by] = append(h.Ages[by], max(milliseconds, 0))
	}
}

// Indexes gives the indexes that Health tells apart their numbers: those that the configuration names, and
// the first others that any task meets. The tasks of a process share one.
type Indexes struct {
	mu     sync.Mutex
	names  []string
	byName map[string]int
	most   int
}

// maxSeenIndexes is how many indexes beyond the configured ones are told apart.
const maxSeenIndexes = 50

// otherIndex is the number of all indexes that are not told apart.
const otherIndex = 0

// NewIndexes knows the indexes that the applications' configuration names.
func NewIndexes(applications []Application) *Indexes {
	x := &Indexes{names: []string{"other"}, byName: map[string]int{}}
	for i := range applications {
		a := &applications[i]
		if a.DefaultIndex != "" {
			x.add(a.DefaultIndex)
		}
		for _, name := range a.Indices {
			x.add(name)
		}
	}
	x.most = len(x.names) + maxSeenIndexes
	return x
}

func (x *Indexes) add(name string) {
	if _, known := x.byName[name]; !known {
		x.byName[name] = len(x.names)
		x.names = append(x.names, name)
	}
}

// Name is what metrics call the index of a number.
func (x *Indexes) Name(number int) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.names[number]
}

func (x *Indexes) number(index []byte) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, known := x.byName[string(index)]; !known && len(x.names) < x.most {
		x.add(string(index))
	}
	return x.byName[string(index)] // of one that is not told apart: otherIndex
}

// indexMemo spares a task the lock of Indexes, and mostly a look into a map.
type indexMemo struct {
	shared *Indexes
	last   []byte
	number int
	byName map[string]int
}

func newIndexMemo(shared *Indexes, applications []Application) indexMemo {
	if shared == nil {
		shared = NewIndexes(applications)
	}
	return indexMemo{shared: shared, byName: make(map[string]int)}
}

func (m *indexMemo) of(index []byte) int {
	switch {
	case len(index) == 0: // of a message that is not sent
		return otherIndex
	case bytes.Equal(m.last, index):
		return m.number
	}
	number, known := m.byName[string(index)]
	if !known {
		if number = m.shared.number(index); number != otherIndex {
			m.byName[string(index)] = number // at most as many as Indexes tells apart
		}
	}
	m.last, m.number = append(m.last[:0], index...), number
	return number
}

// judge counts how the objects of the frame's message were attributed.
func (t *Task[M]) judge() {
	f := t.f
	for i := range f.resolved {
		r := &f.resolved[i]
		if r.done {
			continue
		}
		var model uint8
		if f.ev.Type == event.Clicked {
			model = modelNumber(f.ev.Model)
		} else {
			model = modelNumber(or(f.ev.Items[i].Model, f.ev.Model))
		}
		if a := r.answered; a != nil {
			if a.model != noModel {
				model = a.model
			}
			by := 0
			if r.source == fromClick {
				by = 1
			}
			t.Health.age(by, f.at-a.time)
		}
		t.Health.object(t.indexes.of(r.index), f.ev.Type, model, r.source != fromNothing)
	}
}
