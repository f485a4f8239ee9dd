package insights

import (
	"math/bits"
	"time"
)

// adaptive is a Limiter that finds out how many requests in flight the endpoint likes, between 1 and
// a bound. It starts at 2 and doubles, from one window of answers to the next, until something tells
// it to stop; after that it adds one request a window. It gives way
//
//   - by half on 429, 408, 5xx and on requests without an answer, once for those that were on the wire
//     together;
//   - by a third when answers take one and a half times as long as they did with fewer requests in
//     flight. If they do not get quicker by that, the requests were not the reason: the number is
//     taken back, and the new time is what the next ones are compared with.
//
// A number that is not used up teaches nothing, and does not grow. Its memory is a few hundred bytes.
type adaptive struct {
	max       int
	limit     float64
	threshold float64 // below it the limit doubles, above it it grows by one
	failing   bool    // the last request ended in overload
	// changed is when the limit last went down: requests that began before it saw another one.
	changed time.Time

	base   [sizes]time.Duration // what answers take by size of the request, as far as is known
	window window
	held   int   // windows in a row in which the limit was neither raised nor lowered for their latency
	trial  trial // a lower limit is tried for the latency
}

// sizes is the number of classes of requests, powers of two of events: larger ones take longer.
const sizes = 12

// window gathers requests that began after the last change of the limit.
type window struct {
	n     int
	full  bool // the limit was reached
	count [sizes]int
	took  [sizes]time.Duration
}

// trial is a limit that was lowered to see whether answers get quicker.
type trial struct {
	limit float64 // the one before; 0: no trial
	ratio float64 // how much longer answers took
}

const (
	firstLimit  = 2
	windowLeast = 4
	// A verdict that lowers the limit for latency, or ends a trial, wants so many answers: latency is
	// spread, and the mean of a few says little.
	judgeLeast = 48
	// Answers that take so many times as long as the base are slow, or suspicious; of a suspicion one
	// wants to be sure after some windows.
	slowRatio, suspectRatio = 1.5, 1.2
	suspectWindows          = 8
	// A trial has helped if answers take no more than this part of the time. Where requests queue,
	// seven tenths of them take seven tenths of the time.
	helpedRatio   = 0.87
	latencyFactor = 0.7
)

func newAdaptive(most int) *adaptive {
	return &adaptive{max: most, limit: float64(min(firstLimit, most)), threshold: float64(most)}
}

// Limit implements Limiter.
func (l *adaptive) Limit() int { return int(l.limit) }

// Observe implements Limiter.
func (l *adaptive) Observe(e *Exchange) {
	now := time.Now()
	began := now.Add(-e.Duration)
	if began.Before(l.changed) {
		return
	}
	switch {
	case e.Result == "retryable":
		l.overload(now)
	case e.Result == "delivered":
		l.failing = false
		l.add(e)
		if l.window.n >= max(windowLeast, l.Limit()) {
			l.review(now)
		}
	}
}

func (l *adaptive) overload(now time.Time) {
	if !l.failing {
		l.threshold = max(l.limit/2, 1)
	}
	l.failing = true
	l.trial = trial{}
	l.set(l.limit/2, now)
}

// set changes the limit and begins a new window.
func (l *adaptive) set(limit float64, now time.Time) {
	limit = min(max(limit, 1), float64(l.max))
	if limit < l.limit {
		l.changed = now
	}
	l.limit, l.window, l.held = limit, window{}, 0
}

func (l *adaptive) add(e *Exchange) {
	w, c := &l.window, min(bits.Len(uint(e.Events)), sizes-1)
	w.n++
	w.full = w.full || e.InFlight >= l.Limit()
	w.count[c]++
	w.took[c] += e.Duration
}

// review judges a window that is complete.
func (l *adaptive) review(now time.Time) {
	w := l.window
	ratio := l.compare(&w)
	if w.full && w.n < judgeLeast && (l.trial.limit > 0 || ratio >= suspectRatio) {
		return // more answers first
	}
	l.window = window{}
	switch {
	case !w.full:
	case l.trial.limit > 0:
		l.endTrial(&w, ratio, now)
		return
	case ratio >= slowRatio || ratio >= suspectRatio && l.held >= suspectWindows:
		l.beginTrial(ratio, now)
		return
	case ratio >= suspectRatio:
		l.held++
	case l.limit < l.threshold:
		l.set(min(l.limit*2, l.threshold), now)
	default:
		l.set(l.limit+1, now)
	}
	l.learn(&w)
}

// compare says how many times as long as the base the answers of a window took; 1 if nothing is known.
func (l *adaptive) compare(w *window) float64 {
	var took, base float64
	for c, n := range w.count {
		if n > 0 && l.base[c] > 0 {
			took += w.took[c].Seconds()
			base += l.base[c].Seconds() * float64(n)
		}
	}
	if base == 0 {
		return 1
	}
	return took / base
}

// learn lets the base follow the answers: quickly where they were quicker than it, hardly where they
// were slower, since that may be the limit's own work.
func (l *adaptive) learn(w *window) {
	for c, n := range w.count {
		if n == 0 {
			continue
		}
		gap := w.took[c]/time.Duration(n) - l.base[c]
		switch {
		case l.base[c] == 0:
			l.base[c] = max(gap, 1)
		case n < judgeLeast/2: // too few
		case gap < 0:
			l.base[c] = max(l.base[c]+gap*3/10, 1)
		case float64(gap) < (suspectRatio-1)*float64(l.base[c]):
			l.base[c] += gap / 20
		}
	}
}

func (l *adaptive) beginTrial(ratio float64, now time.Time) {
	if l.Limit() == 1 {
		l.rebase(ratio) // a single request waits for none of ours
		return
	}
	l.trial = trial{limit: l.limit, ratio: ratio}
	l.set(min(l.limit*latencyFactor, l.limit-1), now)
}

func (l *adaptive) endTrial(w *window, ratio float64, now time.Time) {
	before := l.trial
	l.trial = trial{}
	if ratio <= helpedRatio*before.ratio {
		l.threshold = l.limit
		l.learn(w)
		return
	}
	l.rebase(ratio)
	l.set(before.limit, now)
}

// rebase takes the present latency for the base.
func (l *adaptive) rebase(ratio float64) {
	for c := range l.base {
		l.base[c] = time.Duration(float64(l.base[c]) * ratio)
	}
}
