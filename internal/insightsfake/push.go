package insightsfake

import (
	"errors"
	"io"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// scratch is what serving one request needs, kept in the pool between requests.
type scratch struct {
	body  []byte
	read  reader
	again reader // reads accepted events a second time, to copy them
}

// events serves POST /1/events.
//
// The body is read first, whatever comes of it, so that a client sees the
// answer and not a connection that breaks while it still writes, and so that
// net/http notices a client that goes away.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	sc := s.pool.Get().(*scratch)
	defer s.pool.Put(sc)
	tooLarge, err := sc.receive(r.Body, r.ContentLength, s.opts.MaxBody)
	if err != nil {
		s.abandoned(w)
		return
	}
	c := call{at: s.opts.Now(), bytes: len(sc.body)}
	c.application, c.key = credentials(r)
	faults := s.script.Load()
	faults.begin(&c)

	delay, struck := faults.latency(&c)
	for range struck {
		s.counters.fault(Latency)
	}
	if !wait(r.Context(), delay) {
		s.abandoned(w)
		return
	}
	if f, _, ok := s.strike(faults, &c, instead); ok {
		s.misbehave(w, &f)
		return
	}
	status, message := s.judge(r, sc, faults, &c, tooLarge)
	if status == http.StatusOK && !s.afterwards(w, r, faults, &c, &status) {
		return
	}
	s.counters.status(status)
	if f, _, ok := s.strike(faults, &c, kindIs(SlowBody)); ok {
		writeSlowly(r.Context(), w, status, message, time.Duration(f.Delay))
		return
	}
	writeAnswer(w, status, message)
}

// strike is script.strike, counted.
func (s *Server) strike(faults *script, c *call, suits func(*Fault) bool) (Fault, time.Duration, bool) {
	f, delay, ok := faults.strike(c, suits)
	if ok {
		s.counters.fault(f.Kind)
	}
	return f, delay, ok
}

func (s *Server) abandoned(w http.ResponseWriter) {
	s.counters.count(func(s *Stats) { s.Abandoned++ })
	cut(w)
}

// maxDrain is how much of a body that is too large is still read, so that its
// sender comes to see the answer.
const maxDrain = 16 << 20

// receive reads the body, up to the limit, from which on it is too large.
func (sc *scratch) receive(body io.Reader, length int64, limit int) (tooLarge bool, err error) {
	sc.body = sc.body[:0]
	if length > 0 {
		sc.body = slices.Grow(sc.body, int(min(length+1, int64(limit))))
	}
	for len(sc.body) < limit {
		if len(sc.body) == cap(sc.body) {
			sc.body = slices.Grow(sc.body, 4096)
		}
		n, err := body.Read(sc.body[len(sc.body):min(cap(sc.body), limit)])
		sc.body = sc.body[:len(sc.body)+n]
		if errors.Is(err, io.EOF) {
			return len(sc.body) >= limit, nil
		}
		if err != nil {
			return false, err
		}
	}
	_, err = io.CopyN(io.Discard, body, maxDrain)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return true, err
}

// judge answers for the API and, if all is well, takes the events.
func (s *Server) judge(r *http.Request, sc *scratch, faults *script, c *call, tooLarge bool) (int, string) {
	if !s.authorized(r) {
		return http.StatusUnauthorized, messageUnauthorized
	}
	if !tooLarge {
		_, _, tooLarge = s.strike(faults, c, kindIs(SizeLimit))
	}
	if tooLarge {
		return http.StatusRequestEntityTooLarge, messageTooLarge
	}
	if !isJSON(r.Header) {
		return http.StatusBadRequest, ""
	}
	first, ok := s.readBody(sc, faults, c)
	switch {
	case !ok:
		return http.StatusBadRequest, ""
	case first.any():
		s.counters.refused(first.rule, sc.read.events)
		return http.StatusUnprocessableEntity, first.message
	}
	s.accept(c.application, sc)
	return http.StatusOK, messageOK
}

// readBody reads and checks the body. If a scripted refusal was used up by
// another request in the meantime, it reads again without it.
func (s *Server) readBody(sc *scratch, faults *script, c *call) (first problem, ok bool) {
	rd := &sc.read
	rd.check = checker{
		strict:     !s.opts.Lenient,
		maxEvents:  s.opts.MaxEvents,
		maxFilters: s.opts.MaxFilters,
		oldest:     math.MinInt64,
	}
	if s.opts.MaxAge > 0 {
		rd.check.oldest = c.at.Add(-s.opts.MaxAge).UnixMilli()
	}
	places := faults.refusals(c)
	for len(places) > 0 {
		var by *int
		rd.check.refused, by = faults.refuser(places)
		first, ok = rd.read(sc.body)
		if first.rule != ruleRefusedByScript {
			return first, ok
		}
		if faults.refusal(*by) {
			s.counters.fault(Refuse)
			return first, ok
		}
		places = slices.DeleteFunc(places, func(i int) bool { return i == *by })
	}
	rd.check.refused = nil
	return rd.read(sc.body)
}

// accept takes the events of a request.
func (s *Server) accept(application string, sc *scratch) {
	rd := &sc.read
	if s.opts.Keep {
		s.kept.add(rd.digests)
	}
	s.counters.accepted(application, len(sc.body), len(rd.digests), &rd.tally)
	if s.opts.OnAccept != nil {
		events := sc.copies(rd.spans)
		s.recent.add(events)
		s.opts.OnAccept(application, events)
	} else if keep := min(s.opts.KeepEvents, len(rd.spans)); keep > 0 {
		s.recent.add(sc.copies(rd.spans[len(rd.spans)-keep:]))
	}
}

// copies makes whole events of parts of the body that were found good.
func (sc *scratch) copies(spans []span) []Event {
	events := make([]Event, 0, len(spans))
	for _, at := range spans {
		sc.again.reset(sc.body[at.from:at.to])
		if sc.again.event() {
			events = append(events, sc.again.view.event())
		}
	}
	return events
}

// afterwards plays the faults that follow on an acceptance. It is false if there
// is nobody left to answer.
func (s *Server) afterwards(w http.ResponseWriter, r *http.Request, faults *script, c *call, status *int) bool {
	_, delay, late := s.strike(faults, c, kindIs(LateAnswer))
	gone := late && !wait(r.Context(), delay)
	if !gone {
		_, _, gone = s.strike(faults, c, kindIs(LostAnswer))
	}
	if gone {
		s.counters.count(func(s *Stats) { s.AnswersLost++ })
		cut(w)
		return false
	}
	if f, _, ok := s.strike(faults, c, otherSuccess); ok {
		*status = f.Status
	}
	return true
}

// misbehave plays a fault that answers in place of the API.
func (s *Server) misbehave(w http.ResponseWriter, f *Fault) {
	switch f.Kind {
	case Reset:
		s.counters.count(func(s *Stats) { s.Reset++ })
		cut(w)
	case Revoked:
		if f.Status == http.StatusForbidden {
			s.answer(w, http.StatusForbidden, messageForbidden)
			return
		}
		s.answer(w, http.StatusUnauthorized, messageUnauthorized)
	default:
		if f.RetryAfter > 0 {
			w.Header().Set("Retry-After", retryAfter(f, s.opts.Now()))
		}
		if f.Status/100 == 3 {
			w.Header().Set("Location", "/1/events")
		}
		s.answer(w, f.Status, http.StatusText(f.Status))
	}
}

func retryAfter(f *Fault, now time.Time) string {
	d := time.Duration(f.RetryAfter)
	if f.RetryAfterDate {
		return now.Add(d + time.Second - 1).UTC().Format(http.TimeFormat)
	}
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}

// isJSON: the body says that it is JSON, and is not compressed, which the
// specification does not provide for.
func isJSON(h http.Header) bool {
	if e := h.Get("Content-Encoding"); e != "" && e != "identity" {
		return false
	}
	t := h.Get("Content-Type")
	if t == typeJSON {
		return true
	}
	t, params, err := mime.ParseMediaType(t)
	charset, has := params["charset"]
	return err == nil && t == typeJSON && (!has || charset == "utf-8" || charset == "UTF-8")
}
