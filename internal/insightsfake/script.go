package insightsfake

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// script is a [Faults] in force.
type script struct {
	mu       sync.Mutex
	seed     uint64
	faults   []Fault // Struck counts
	objects  []map[string]struct{}
	since    time.Time
	requests int
	random   *rand.Rand
}

func newScript(f Faults, now time.Time) *script {
	s := &script{
		seed:    f.Seed,
		faults:  slices.Clone(f.Faults),
		objects: make([]map[string]struct{}, len(f.Faults)),
		since:   now,
		random:  rand.New(rand.NewPCG(f.Seed, 0)),
	}
	for i := range s.faults {
		s.faults[i].Struck = 0
		if s.faults[i].Kind == Refuse {
			s.objects[i] = make(map[string]struct{})
			for _, id := range s.faults[i].ObjectIDs {
				s.objects[i][id] = struct{}{}
			}
		}
	}
	return s
}

func (s *script) snapshot() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Faults{Seed: s.seed, Faults: slices.Clone(s.faults)}
}

// call is what faults go by in a request.
type call struct {
	number           int // from 1 on, since the script was set
	at               time.Time
	application, key string
	bytes            int
}

func (s *script) begin(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	c.number = s.requests
}

// inForce reports whether a fault may strike this request.
func (s *script) inForce(f *Fault, c *call) bool {
	age := c.at.Sub(s.since) - time.Duration(f.After)
	switch {
	case f.Count > 0 && f.Struck >= f.Count:
		return false
	case age < 0 || f.For > 0 && age >= time.Duration(f.For):
		return false
	case c.number <= f.AfterRequests:
		return false
	case len(f.Applications) > 0 && !slices.Contains(f.Applications, c.application):
		return false
	case len(f.Keys) > 0 && !slices.Contains(f.Keys, c.key):
		return false
	case f.Kind == SizeLimit && c.bytes < f.Bytes:
		return false
	}
	return true
}

func (s *script) chance(f *Fault) bool {
	return f.Probability == 0 || f.Probability == 1 || s.random.Float64() < f.Probability
}

// delay draws Delay ± Jitter.
func (s *script) delay(f *Fault) time.Duration {
	d := time.Duration(f.Delay)
	if f.Jitter > 0 {
		d += time.Duration((2*s.random.Float64() - 1) * float64(f.Jitter))
	}
	return d
}

// strike takes the first fault that suits and strikes this request.
func (s *script) strike(c *call, suits func(*Fault) bool) (f Fault, delay time.Duration, struck bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.faults {
		f := &s.faults[i]
		if suits(f) && s.inForce(f, c) && s.chance(f) {
			f.Struck++
			return *f, s.delay(f), true
		}
	}
	return Fault{}, 0, false
}

// latency takes all faults of that kind and adds them up.
func (s *script) latency(c *call) (sum time.Duration, struck int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.faults {
		f := &s.faults[i]
		if f.Kind == Latency && s.inForce(f, c) && s.chance(f) {
			f.Struck++
			struck++
			sum += s.delay(f)
		}
	}
	return sum, struck
}

// refusals lists the places of the refusing faults that are in force, without
// using them up: that is for refusal, once an event was found.
func (s *script) refusals(c *call) (places []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.faults {
		f := &s.faults[i]
		if f.Kind == Refuse && s.inForce(f, c) && s.chance(f) {
			places = append(places, i)
		}
	}
	return places
}

// refuser gives the test of an objectID for the faults at these places, and
// where it notes which of them refused.
func (s *script) refuser(places []int) (refused func(objectID []byte) bool, by *int) {
	by = new(int)
	return func(objectID []byte) bool {
		for _, i := range places {
			if _, ok := s.objects[i][string(objectID)]; ok {
				*by = i
				return true
			}
		}
		return false
	}, by
}

// refusal uses up the fault at a place; false: another request was quicker.
func (s *script) refusal(place int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &s.faults[place]
	if f.Count > 0 && f.Struck >= f.Count {
		return false
	}
	f.Struck++
	return true
}

// instead: the fault answers in place of the API.
func instead(f *Fault) bool {
	return f.Kind == Reset || f.Kind == Revoked || f.Kind == Status && !is2xx(f.Status)
}

func otherSuccess(f *Fault) bool { return f.Kind == Status && is2xx(f.Status) }

func is2xx(status int) bool { return status >= 200 && status < 300 }

func kindIs(k Kind) func(*Fault) bool { return func(f *Fault) bool { return f.Kind == k } }
