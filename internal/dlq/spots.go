package dlq

import "iter"

// spots is a map by the places of messages' first lives, for millions of them: the names of topics are held
// once, and a message takes 26 bytes with a value of up to eight, 38 with one of up to sixteen.
type spots[V any] struct {
	numbers map[source]int
	sources []source
	at      []map[int64]V // by source and offset
}

// source is a partition of a topic that messages came from.
type source struct {
	topic     string
	partition int32
}

// of is the map of a source, nil where it has none.
func (s *spots[V]) of(c Coordinates) map[int64]V {
	if n, ok := s.numbers[source{c.Topic, c.Partition}]; ok {
		return s.at[n]
	}
	return nil
}

func (s *spots[V]) get(c Coordinates) (V, bool) {
	v, ok := s.of(c)[c.Offset]
	return v, ok
}

func (s *spots[V]) has(c Coordinates) bool { _, ok := s.get(c); return ok }

func (s *spots[V]) set(c Coordinates, v V) {
	at := s.of(c)
	if at == nil {
		if s.numbers == nil {
			s.numbers = map[source]int{}
		}
		from := source{c.Topic, c.Partition}
		at = map[int64]V{}
		s.numbers[from] = len(s.sources)
		s.sources, s.at = append(s.sources, from), append(s.at, at)
	}
	at[c.Offset] = v
}

func (s *spots[V]) remove(c Coordinates) { delete(s.of(c), c.Offset) }

func (s *spots[V]) len() (n int) {
	for _, at := range s.at {
		n += len(at)
	}
	return n
}

// all goes through the map in no order.
func (s *spots[V]) all() iter.Seq2[Coordinates, V] {
	return func(yield func(Coordinates, V) bool) {
		for n, at := range s.at {
			for offset, v := range at {
				if !yield(Coordinates{s.sources[n].topic, s.sources[n].partition, offset}, v) {
					return
				}
			}
		}
	}
}

// textNumbers numbers texts that many letters share.
type textNumbers struct {
	numbers map[string]uint32
	list    []string
}

func (t *textNumbers) number(text string) uint32 {
	if n, ok := t.numbers[text]; ok {
		return n
	}
	if t.numbers == nil {
		t.numbers = map[string]uint32{}
	}
	n := uint32(len(t.list))
	t.numbers[text], t.list = n, append(t.list, text)
	return n
}

// pages is a list that grows without being copied.
type pages[T any] struct {
	list [][]T
	n    int
}

const pageSize = 8192

func (p *pages[T]) add(v T) {
	if p.n%pageSize == 0 {
		p.list = append(p.list, make([]T, 0, pageSize))
	}
	last := &p.list[len(p.list)-1]
	*last = append(*last, v)
	p.n++
}

func (p *pages[T]) at(i int) *T { return &p.list[i/pageSize][i%pageSize] }

// all goes through the list in order.
func (p *pages[T]) all() iter.Seq[*T] {
	return func(yield func(*T) bool) {
		for _, page := range p.list {
			for i := range page {
				if !yield(&page[i]) {
					return
				}
			}
		}
	}
}
