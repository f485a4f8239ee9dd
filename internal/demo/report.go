package demo

import (
	"fmt"
	"io"
	"strconv"

	"eventworker/internal/deadletter"
	"eventworker/internal/event"
	"eventworker/internal/insightsfake"
	"eventworker/internal/storefront"
	"eventworker/internal/telemetry"
)

// Report is what came of a run.
type Report struct {
	Seed     uint64 `json:"seed"`
	Messages uint64 `json:"messages"`
	// Seconds from the start to the last message settled, producing included.
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"messages_per_second"`
	// Equation is the worker's own account.
	Equation Equation `json:"equation"`
	// Truth is what arrived, held against the simulator's truth.
	Truth *storefront.Report `json:"truth"`
	// API is what the fake API counted.
	API insightsfake.Stats `json:"api"`
}

// Equation is the worker's account of the messages: Received = Delivered + DeadLettered + Absorbed +
// Released + InFlight.
type Equation struct {
	Received     int64            `json:"received"`
	Delivered    int64            `json:"delivered"`
	DeadLettered map[string]int64 `json:"dead_lettered"`
	Absorbed     map[string]int64 `json:"absorbed"`
	Released     int64            `json:"released"`
	InFlight     int64            `json:"in_flight"`
	Gap          int64            `json:"gap"`
}

// EquationOf names the parts of a snapshot.
func EquationOf(s *telemetry.Snapshot) Equation {
	e := Equation{Received: s.Received, Delivered: s.Delivered, Released: s.Released, InFlight: s.InFlight, Gap: s.Gap(),
		DeadLettered: make(map[string]int64), Absorbed: make(map[string]int64)}
	for i, n := range s.DeadLettered {
		if n > 0 {
			e.DeadLettered[event.Reason(i).String()] = n
		}
	}
	for i, n := range s.Absorbed {
		if n > 0 {
			e.Absorbed[telemetry.Absorption(i).String()] = n
		}
	}
	return e
}

// OK says whether everything arrived as it must, once, and all accounts add up.
func (r *Report) OK() bool {
	return r.Truth.Matches() && r.Truth.AddsUp() && r.Equation.Gap == 0 && r.Equation.InFlight == 0
}

// Letter is what the comparison has to know of a dead letter, by its headers.
func Letter(headers []deadletter.Header) storefront.DeadLetter {
	l := storefront.DeadLetter{Seq: 1 << 63}
	for _, h := range headers {
		switch h.Key {
		case storefront.SeqHeader:
			if n, err := strconv.ParseUint(string(h.Value), 10, 64); err == nil {
				l.Seq = n
			}
		case deadletter.Prefix + "reason":
			l.Reason = string(h.Value)
		}
	}
	return l
}

// WriteText writes the report for people.
func (r *Report) WriteText(w io.Writer) error {
	e := &r.Equation
	_, err := fmt.Fprintf(w, "%d messages in %.1f s (%.0f a second), seed %d\n\n"+
		"worker    received %d = delivered %d + dead-lettered %d + absorbed %d + released %d + in flight %d\n"+
		"API       %d events accepted in %d requests, %d of them seen before\n\n",
		r.Messages, r.Seconds, r.Rate, r.Seed,
		e.Received, e.Delivered, sum(e.DeadLettered), sum(e.Absorbed), e.Released, e.InFlight,
		r.API.Events.Accepted, r.API.Requests, r.API.Events.Duplicates)
	if err != nil {
		return err
	}
	if err := r.Truth.WriteText(w); err != nil {
		return err
	}
	verdict := "everything arrived as it had to, and the accounts add up"
	if !r.OK() {
		verdict = "NOT everything arrived as it had to"
	}
	_, err = fmt.Fprintf(w, "\n%s\n", verdict)
	return err
}

func sum(counts map[string]int64) (total int64) {
	for _, n := range counts {
		total += n
	}
	return total
}
