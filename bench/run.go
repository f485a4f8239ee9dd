package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"eventworker/internal/realtest/servers"
)

// env is what all runs share.
type env struct {
	dir         string
	worker      string // its binary
	set         []string
	profiles    string // folder for CPU profiles; empty: none
	timeout     time.Duration
	broker      *broker
	redis       *servers.Redis // nil: no contestant needs it
	sink        *process
	url         string
	certificate string
	counts      <-chan counts
}

// counts are what the sink has counted since its start.
type counts struct{ events, requests, bytes int64 }

// startSink starts the sink and reads what it counts.
func (e *env) startSink(ctx context.Context, latency time.Duration, https bool) (err error) {
	args := []string{"-latency", latency.String()}
	if https {
		e.certificate = filepath.Join(e.dir, "sink.pem")
		args = append(args, "-certificate", e.certificate)
	}
	if e.sink, e.url, err = startRole(ctx, e.dir, "sink", args...); err != nil {
		return err
	}
	ch := make(chan counts)
	e.counts = ch
	go func() {
		defer close(ch)
		for {
			var c counts
			line, err := e.sink.out.ReadString('\n')
			if err != nil {
				return
			}
			if _, err := fmt.Sscan(line, &c.events, &c.requests, &c.bytes); err != nil {
				return
			}
			select {
			case ch <- c:
			default: // between runs nobody listens
			}
		}
	}()
	return nil
}

// sample is the state of things at an instant.
type sample struct {
	at                   time.Time
	counts               counts
	worker, broker, sink time.Duration // CPU
	redis                time.Duration
	peak                 int64
	allocations          allocations
}

func (e *env) sample(pid int, c, base counts) (s sample, err error) {
	s.at = time.Now()
	s.counts = counts{c.events - base.events, c.requests - base.requests, c.bytes - base.bytes}
	if s.worker, err = cpuOf(pid); err != nil {
		return s, err
	}
	if e.broker.pid != 0 {
		if s.broker, err = cpuOf(e.broker.pid); err != nil {
			return s, err
		}
	}
	if e.redis != nil {
		if s.redis, err = cpuOf(e.redis.PID()); err != nil {
			return s, err
		}
	}
	s.sink, err = cpuOf(e.sink.pid())
	return s, err
}

// run lets a contestant deliver a log and measures it between the log's marks.
func (e *env) run(ctx context.Context, c contestant, l *log, round int) (*Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.timeout, fmt.Errorf("not done after %v", e.timeout))
	defer cancel()
	metrics, err := freeAddress()
	if err != nil {
		return nil, err
	}
	base, ok := <-e.counts
	if !ok {
		return nil, e.sinkEnded()
	}
	p, err := c.start(ctx, e, l, groupOf(c, round), metrics)
	if err != nil {
		return nil, err
	}
	result, err := e.watch(ctx, p, l, base, "http://"+metrics, fmt.Sprintf("%s-%s-%d", l.Name, c.name, round+1), c.pprof && e.profiles != "")
	if stopped := p.stop(); err == nil && stopped != nil {
		err = fmt.Errorf("it did not stop cleanly: %w", stopped)
	}
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w\n%s", c.name, l.Name, err, p.tail())
	}
	result.Log, result.Contestant, result.Round = l.Name, c.name, round+1
	return result, nil
}

func (e *env) sinkEnded() error { return fmt.Errorf("the sink ended: %s", e.sink.tail()) }

// watch waits until all events of the log have arrived, and measures between its marks.
func (e *env) watch(ctx context.Context, p *process, l *log, base counts, metrics, name string, profile bool) (*Result, error) {
	began := time.Now()
	var profiling sync.WaitGroup
	defer profiling.Wait()
	w := watch{env: e, pid: p.pid(), log: l, base: base, metrics: metrics + "/metrics"}
	for w.events < l.Events {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %d of %d events have arrived", context.Cause(ctx), w.events, l.Events)
		case <-p.done:
			return nil, fmt.Errorf("it ended when %d of %d events had arrived: %v", w.events, l.Events, p.err)
		case c, ok := <-e.counts:
			if !ok {
				return nil, e.sinkEnded()
			}
			begins, err := w.take(ctx, c)
			if err != nil {
				return nil, err
			}
			if begins && profile {
				profiling.Go(func() { e.profile(ctx, metrics, name) })
			}
		}
	}
	if w.last == nil {
		return nil, fmt.Errorf("it delivered the log of %d messages between two looks of %v: take more -messages", l.Messages, tick)
	}
	r := resultOf(l, w.first, w.last)
	r.Seconds, r.Delivered, r.Peak, r.Pause = time.Since(began).Seconds(), w.events, peakOf(p.pid()), w.pauses.longest.Seconds()
	if w.pauses.longest > worthSaying {
		say("%s: no event arrived for %v; the process wrote:\n%s", name, w.pauses.longest, p.tail())
	}
	return r, nil
}

// watch is the state of a run.
type watch struct {
	*env
	pid     int
	log     *log
	base    counts // of the sink before the run
	metrics string

	events      int64
	first, last *sample // at the marks
	pauses      pauses
}

// take notes what the sink has counted, and says whether the measured part begins.
func (w *watch) take(ctx context.Context, c counts) (begins bool, err error) {
	w.events = c.events - w.base.events
	if w.first != nil && w.last == nil {
		w.pauses.note(w.events)
	}
	at := &w.first
	switch {
	case w.first == nil && w.events >= w.log.marks[0]:
	case w.first != nil && w.last == nil && w.events >= w.log.marks[1]:
		at = &w.last
	default:
		return false, nil
	}
	s, err := w.sample(w.pid, c, w.base)
	if err != nil {
		return false, err
	}
	if s.allocations, err = scrape(ctx, w.metrics); err != nil {
		return false, fmt.Errorf("read its metrics: %w", err)
	}
	*at = &s
	return at == &w.first, nil
}

// worthSaying is a time without events that asks for an explanation: the disk, or a defect.
const worthSaying = 3 * time.Second

// pauses finds the longest time in which no event arrived.
type pauses struct {
	events  int64
	since   time.Time
	longest time.Duration
}

func (p *pauses) note(events int64) {
	now := time.Now()
	if events == p.events && !p.since.IsZero() {
		p.longest = max(p.longest, now.Sub(p.since))
		return
	}
	p.events, p.since = events, now
}

// profile writes a CPU profile of some seconds of the run, and one of the allocations until then.
func (e *env) profile(ctx context.Context, metrics, name string) {
	for _, p := range [][2]string{{"cpu", "profile?seconds=5"}, {"allocs", "allocs?gc=1"}} {
		if err := save(ctx, metrics+"/debug/pprof/"+p[1], filepath.Join(e.profiles, name+"-"+p[0]+".prof")); err != nil {
			say("no profile %s of %s: %v", p[0], name, err)
		}
	}
}

func save(ctx context.Context, url, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return errors.New(resp.Status)
	}
	return os.WriteFile(file, data, 0o600)
}
