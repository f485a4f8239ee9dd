package insightsfake

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Faults is a script of what goes wrong with POST /1/events. As JSON, here with
// every kind of fault:
//
//	{
//	  "seed": 7,
//	  "faults": [
//	    {"kind": "latency", "delay": "50ms", "jitter": "20ms", "for": "1m"},
//	    {"kind": "status", "status": 429, "retry_after": "2s", "count": 3},
//	    {"kind": "status", "status": 429, "retry_after": "2s", "retry_after_date": true, "after": "10s", "count": 1},
//	    {"kind": "status", "status": 503, "after_requests": 100, "count": 5},
//	    {"kind": "reset", "probability": 0.1, "count": 10},
//	    {"kind": "lost-answer", "after_requests": 20, "count": 2},
//	    {"kind": "late-answer", "delay": "15s", "count": 1},
//	    {"kind": "slow-body", "delay": "3s", "count": 1},
//	    {"kind": "revoked", "keys": ["old-key"], "after": "5s", "for": "10s"},
//	    {"kind": "refuse", "object_ids": ["sku-13"], "for": "1h"},
//	    {"kind": "size-limit", "bytes": 100000, "for": "30s"}
//	  ]
//	}
//
// A fault is in force from After on, for For, once AfterRequests requests have
// come, counted from when the script was set; it strikes with its Probability, Count times at
// most. Each must have an end: Count or For. Several may strike one request;
// among those that answer instead of the API (status, reset, revoked) the first
// listed does. A fault that had no chance to strike, such as a lost answer to a
// request that was refused, is not used up.
//
// With one request at a time a script does the same again for the same seed;
// concurrent requests draw from the seed in the order they come.
type Faults struct {
	Seed   uint64  `json:"seed"`
	Faults []Fault `json:"faults"`
}

// Kind says what a [Fault] does.
type Kind string

const (
	// Latency waits Delay ± Jitter before anything is looked at.
	Latency Kind = "latency"
	// Status answers with Status, and with Retry-After if RetryAfter is set.
	// With a 2xx the events are taken, otherwise not. A 3xx points back here.
	Status Kind = "status"
	// Reset cuts the connection (RST) after the request was read; nothing is taken.
	Reset Kind = "reset"
	// LostAnswer takes the events and then cuts the connection.
	LostAnswer Kind = "lost-answer"
	// LateAnswer takes the events and answers Delay ± Jitter later.
	LateAnswer Kind = "late-answer"
	// SlowBody stretches the body of an answer over Delay.
	SlowBody Kind = "slow-body"
	// Revoked answers 401, or Status if it is 403, to requests with one of Keys
	// (none: with any key).
	Revoked Kind = "revoked"
	// Refuse answers 422 to requests with an event that holds one of ObjectIDs:
	// the server knows better than the published rules.
	Refuse Kind = "refuse"
	// SizeLimit answers 413 to bodies of Bytes or more.
	SizeLimit Kind = "size-limit"
)

// Fault is one thing that goes wrong.
type Fault struct {
	Kind Kind `json:"kind"`

	After         Duration `json:"after,omitempty"`          // since the script was set
	AfterRequests int      `json:"after_requests,omitempty"` // since the script was set
	For           Duration `json:"for,omitempty"`            // from After on; 0: no end
	Count         int      `json:"count,omitempty"`          // 0: no end
	Probability   float64  `json:"probability,omitempty"`    // 0: 1
	Applications  []string `json:"applications,omitempty"`   // application ids; none: all

	Delay          Duration `json:"delay,omitempty"`
	Jitter         Duration `json:"jitter,omitempty"`
	Status         int      `json:"status,omitempty"`
	RetryAfter     Duration `json:"retry_after,omitempty"`      // rounded up to seconds
	RetryAfterDate bool     `json:"retry_after_date,omitempty"` // as an HTTP date instead of seconds
	Keys           []string `json:"keys,omitempty"`
	ObjectIDs      []string `json:"object_ids,omitempty"`
	Bytes          int      `json:"bytes,omitempty"`

	Struck int `json:"struck,omitempty"` // told by [Server.Faults], ignored when set
}

// Duration is a time.Duration that reads and writes like "1m30s" in JSON.
type Duration time.Duration

// MarshalText writes it like time.Duration.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// Bounds of a script.
const (
	maxFaults      = 1000
	maxFaultDelay  = Duration(time.Hour)
	maxScriptBytes = 1 << 20
)

// ParseFaults reads a script. Unknown keys and faults that cannot be meant are
// errors that say which fault it is, counted from 0.
func ParseFaults(b []byte) (Faults, error) {
	var f Faults
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return Faults{}, fmt.Errorf("faults: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Faults{}, errors.New("faults: something follows the JSON object")
	}
	return f, f.Validate()
}

// Validate says what is wrong with the first fault that makes no sense.
func (f Faults) Validate() error {
	if len(f.Faults) > maxFaults {
		return fmt.Errorf("faults: %d of them, at most %d may be", len(f.Faults), maxFaults)
	}
	for i := range f.Faults {
		if err := f.Faults[i].validate(); err != nil {
			return fmt.Errorf("faults[%d] (%s): %w", i, f.Faults[i].Kind, err)
		}
	}
	return nil
}

// uses lists the settings that belong to a kind.
var uses = map[Kind][]string{
	Latency:    {"delay", "jitter"},
	Status:     {"status", "retry_after", "retry_after_date"},
	Reset:      {},
	LostAnswer: {},
	LateAnswer: {"delay", "jitter"},
	SlowBody:   {"delay"},
	Revoked:    {"keys", "status"},
	Refuse:     {"object_ids"},
	SizeLimit:  {"bytes"},
}

func (f *Fault) validate() error {
	allowed, known := uses[f.Kind]
	if !known {
		return fmt.Errorf("unknown kind: want one of %s", strings.Join(kinds(), ", "))
	}
	for _, set := range f.settings() {
		if !slices.Contains(allowed, set) {
			return fmt.Errorf("%s does not belong to this kind", set)
		}
	}
	switch {
	case f.Count <= 0 && f.For <= 0:
		return errors.New("has no end: set count or for")
	case f.Count < 0 || f.For < 0 || f.After < 0 || f.AfterRequests < 0:
		return errors.New("count, for, after and after_requests must not be negative")
	case !(f.Probability >= 0 && f.Probability <= 1):
		return errors.New("probability must be between 0 and 1")
	case f.Delay < 0 || f.Jitter < 0 || f.Delay > maxFaultDelay || f.Jitter > f.Delay:
		return errors.New("delay must be between 0 and 1h, jitter between 0 and delay")
	case f.RetryAfter < 0 || f.RetryAfterDate && f.RetryAfter == 0:
		return errors.New("retry_after must be positive")
	}
	return f.validateKind()
}

func (f *Fault) validateKind() error {
	switch f.Kind {
	case Latency, LateAnswer, SlowBody:
		if f.Delay == 0 {
			return errors.New("delay is missing")
		}
	case Status:
		if f.Status < 200 || f.Status > 599 {
			return errors.New("status must be between 200 and 599")
		}
	case Revoked:
		if f.Status != 0 && f.Status != 401 && f.Status != 403 {
			return errors.New("status must be 401 or 403")
		}
	case Refuse:
		if len(f.ObjectIDs) == 0 {
			return errors.New("object_ids is missing")
		}
	case SizeLimit:
		if f.Bytes <= 0 {
			return errors.New("bytes must be positive")
		}
	}
	return nil
}

// settings names those that are set and belong to some kinds only.
func (f *Fault) settings() []string {
	var set []string
	for _, s := range []struct {
		name string
		set  bool
	}{
		{"delay", f.Delay != 0},
		{"jitter", f.Jitter != 0},
		{"status", f.Status != 0},
		{"retry_after", f.RetryAfter != 0},
		{"retry_after_date", f.RetryAfterDate},
		{"keys", len(f.Keys) > 0},
		{"object_ids", len(f.ObjectIDs) > 0},
		{"bytes", f.Bytes != 0},
	} {
		if s.set {
			set = append(set, s.name)
		}
	}
	return set
}

func kinds() []string {
	var all []string
	for k := range uses {
		all = append(all, string(k))
	}
	slices.Sort(all)
	return all
}
