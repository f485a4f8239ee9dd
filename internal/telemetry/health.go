package telemetry

import "sync"

// Health gathers the conditions of readiness. All must hold. It is safe for concurrent use.
type Health struct {
	mu         sync.Mutex
	conditions []Condition
}

// Condition is one thing that must be so for the worker to be ready.
type Condition struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Why says what is wrong, for a person; empty where OK.
	Why string `json:"why,omitempty"`
}

// NewHealth starts with conditions that do not hold yet: a worker that has not said anything is not
// ready.
func NewHealth(names ...string) *Health {
	h := &Health{}
	for _, name := range names {
		h.conditions = append(h.conditions, Condition{Name: name, Why: "not yet known"})
	}
	return h
}

// Set says whether a condition holds, and if not, why. A new name is a new condition.
func (h *Health) Set(name string, ok bool, why string) {
	if ok {
		why = ""
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.conditions {
		if h.conditions[i].Name == name {
			h.conditions[i].OK, h.conditions[i].Why = ok, why
			return
		}
	}
	h.conditions = append(h.conditions, Condition{name, ok, why})
}

// Remove takes a condition away, such as that of something that ended.
func (h *Health) Remove(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.conditions {
		if h.conditions[i].Name == name {
			h.conditions = append(h.conditions[:i:i], h.conditions[i+1:]...)
			return
		}
	}
}

// Ready says whether all conditions hold and there is at least one, and what each of them says.
func (h *Health) Ready() (bool, []Condition) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ready := len(h.conditions) > 0
	for _, c := range h.conditions {
		ready = ready && c.OK
	}
	return ready, append([]Condition(nil), h.conditions...)
}
