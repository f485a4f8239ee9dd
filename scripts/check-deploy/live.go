package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"eventworker/internal/demo"
	"eventworker/internal/insightsfake"
	"eventworker/internal/storefront"
)

const (
	topic      = "recommendation-events"
	partitions = 6
	workers    = 2
	// trafficFor is how long messages flow: longer than the 30 s that rates are taken over.
	trafficFor = 45 * time.Second
	perSecond  = 1000
)

// checkLive starts two workers and dlq watch on an embedded broker and a fake of the API that misbehaves,
// sends them a shop's traffic, replays its dead letters, has a real Prometheus scrape them and evaluate the
// rules, and asks it every query
// of rules and dashboard: each has to be understood, to name metrics and labels that there are, and,
// where it does not look for what is wrong, to find something.
func checkLive(ctx context.Context, c *checks) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	l := &live{work: filepath.Join(c.work, "live"), stop: stop}
	if err := os.Mkdir(l.work, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(l.keyFile(), []byte("check-search-only-key\n"), 0o600); err != nil {
		return err
	}
	defer l.end()
	if err := l.start(ctx); err != nil {
		return err
	}
	if err := l.traffic(ctx); err != nil {
		return err
	}
	if err := l.replay(ctx); err != nil {
		return err
	}
	return l.ask(ctx)
}

// live is what runs.
type live struct {
	work       string
	program    string // eventworker
	stop       context.CancelCauseFunc
	cluster    *kfake.Cluster
	api        *http.Server
	apiURL     string
	processes  []*process
	targets    []string // addresses of the admin servers, and of dlq watch
	prometheus string   // its URL
}

// keyFile holds the API key of all applications.
func (l *live) keyFile() string { return filepath.Join(l.work, "api-key") }

// end stops what runs, in the reverse order.
func (l *live) end() {
	for _, p := range slices.Backward(l.processes) {
		p.end()
	}
	if l.api != nil {
		l.api.Close()
	}
	if l.cluster != nil {
		l.cluster.Close()
	}
}

func (l *live) start(ctx context.Context) error {
	var err error
	if l.cluster, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, topic, topic+".dead-letter", topic+".replay")); err != nil {
		return err
	}
	if err := l.startAPI(); err != nil {
		return err
	}
	l.program = filepath.Join(l.work, "eventworker")
	if _, err := command(ctx, "go", "build", "-o", l.program, "./cmd/eventworker"); err != nil {
		return err
	}
	for i := range workers {
		if err := l.startWorker(ctx, i); err != nil {
			return err
		}
	}
	if err := l.startWatch(ctx); err != nil {
		return err
	}
	return l.startPrometheus(ctx)
}

// startAPI serves a fake of the API with a little of everything that may go wrong.
func (l *live) startAPI() error {
	d := func(d time.Duration) insightsfake.Duration { return insightsfake.Duration(d) }
	fake := insightsfake.New(insightsfake.Options{})
	if err := fake.SetFaults(insightsfake.Faults{Seed: 1, Faults: []insightsfake.Fault{
		{Kind: insightsfake.Refuse, ObjectIDs: storefront.DefaultRules().RefusedObjects, For: d(time.Hour)},
		{Kind: insightsfake.Latency, Delay: d(20 * time.Millisecond), Jitter: d(10 * time.Millisecond), For: d(time.Hour)},
		{Kind: insightsfake.Status, Status: 429, RetryAfter: d(time.Second), Probability: 0.02, For: d(time.Hour)},
		{Kind: insightsfake.Status, Status: 503, Probability: 0.02, For: d(time.Hour)},
	}}); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	l.api = &http.Server{Handler: fake, ReadHeaderTimeout: 10 * time.Second}
	l.apiURL = "http://" + listener.Addr().String()
	go func() {
		if err := l.api.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			l.stop(fmt.Errorf("fake API: %w", err))
		}
	}()
	return nil
}

func (l *live) startWorker(ctx context.Context, i int) error {
	admin, err := freeAddress()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("worker-%d", i+1)
	args := append([]string{"run", "--set", "admin.listen=" + admin, "--set", "store.path=" + filepath.Join(l.work, name), "--set", "batch.linger=200ms", "--set", "join.wait=1s"}, l.settings()...)
	p, err := startProcess(ctx, filepath.Join(l.work, name+".log"), l.program, args...)
	if err != nil {
		return err
	}
	l.processes = append(l.processes, p)
	l.targets = append(l.targets, admin)
	return p.wait(ctx, "http://"+admin+"/readyz", time.Minute)
}

// settings are those that all commands share.
func (l *live) settings() []string {
	args := []string{"--set", "kafka.brokers=" + strings.Join(l.cluster.ListenAddrs(), ","), "--set", "insights.endpoint=" + l.apiURL, "--set", "log.format=json"}
	for app, a := range storefront.DefaultRules().Applications {
		prefix := "insights.applications." + app + "."
		args = append(args, "--set", prefix+"app_id=CHECKAPP01", "--set", prefix+"api_key_file="+l.keyFile())
		if a.DefaultIndex != "" {
			args = append(args, "--set", prefix+"default_index="+a.DefaultIndex)
		}
		if len(a.Indices) > 0 {
			args = append(args, "--set", prefix+"indices="+strings.Join(a.Indices, ","))
		}
	}
	return args
}

func (l *live) startWatch(ctx context.Context) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	p, err := startProcess(ctx, filepath.Join(l.work, "watch.log"), l.program, append([]string{"dlq", "watch", "--listen", address, "--every", "1s"}, l.settings()...)...)
	if err != nil {
		return err
	}
	l.processes = append(l.processes, p)
	l.targets = append(l.targets, address)
	return p.wait(ctx, "http://"+address+"/readyz", time.Minute)
}

// replay replays what the API refused, which it refuses again, and waits for the alert that says so.
func (l *live) replay(ctx context.Context) error {
	args := append([]string{"dlq", "replay", "--reason", "rejected", "--yes", "--wait", "0s"}, l.settings()...)
	if _, err := command(ctx, l.program, args...); err != nil {
		return err
	}
	return within(ctx, time.Minute, func() error {
		fires, err := l.query(ctx, `ALERTS{alertname="EventworkerCauseReturned",alertstate="firing"} and on () eventworker_last_replay_messages{outcome="dead"} > 0`)
		if err == nil && len(fires) == 0 {
			err = errors.New("replayed messages are dead again, and no alert says so")
		}
		return err
	})
}

func (l *live) startPrometheus(ctx context.Context) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		return err
	}
	targets, err := json.Marshal(l.targets)
	if err != nil {
		return err
	}
	settings := filepath.Join(l.work, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 2s}\nrule_files: [%q]\nscrape_configs:\n  - job_name: eventworker\n    static_configs: [{targets: %s}]\n", rules, targets)
	if err := os.WriteFile(settings, []byte(text), 0o600); err != nil {
		return err
	}
	p, err := startProcess(ctx, filepath.Join(l.work, "prometheus.log"), "prometheus", "--config.file="+settings,
		"--storage.tsdb.path="+filepath.Join(l.work, "tsdb"), "--web.listen-address="+address)
	if err != nil {
		return err
	}
	l.processes = append(l.processes, p)
	l.prometheus = "http://" + address
	if err := p.wait(ctx, l.prometheus+"/-/ready", time.Minute); err != nil {
		return err
	}
	return within(ctx, time.Minute, func() error {
		up, err := l.query(ctx, `count(up{job="eventworker"} == 1)`)
		if err == nil && (len(up) != 1 || up[0].value() != fmt.Sprint(len(l.targets))) {
			err = fmt.Errorf("not all targets are scraped: %v", up)
		}
		return err
	})
}

// traffic sends a shop's messages for a while, a second's at a time.
func (l *live) traffic(ctx context.Context) error {
	ended := time.Now().Add(trafficFor)
	sent := 0
	for seed := uint64(1); time.Now().Before(ended); seed++ {
		second := time.Now().Add(time.Second)
		generator, err := storefront.NewGenerator(storefront.Config{Seed: seed, Messages: perSecond, Topic: topic, Partitions: partitions})
		if err != nil {
			return err
		}
		if err := demo.Produce(ctx, l.cluster.ListenAddrs(), generator, func(*storefront.Message) { sent++ }, func() {}); err != nil {
			return err
		}
		select {
		case <-time.After(time.Until(second)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	say("%d messages sent through %d workers", sent, workers)
	return nil
}

// ask asks every query.
func (l *live) ask(ctx context.Context) error {
	labels, err := l.exposed(ctx)
	if err != nil {
		return err
	}
	queries, err := allQueries()
	if err != nil {
		return err
	}
	var wrong []error
	empty := map[string]bool{}
	for i := range queries {
		q := &queries[i]
		for _, u := range q.unknown(labels) {
			wrong = append(wrong, fmt.Errorf("%s: %s\n\t%s", q.where, u, q.expr))
		}
		found, err := l.query(ctx, q.expr)
		switch {
		case err != nil:
			wrong = append(wrong, fmt.Errorf("%s: %w\n\t%s", q.where, err, q.expr))
		case len(found) == 0 && !q.filters:
			empty[q.where+"\n\t"+q.expr] = true
		}
	}
	for where := range empty {
		wrong = append(wrong, fmt.Errorf("%s finds nothing", where))
	}
	if err := errors.Join(wrong...); err != nil {
		return err
	}
	say("%d queries of rules and dashboard are understood, on %d metrics", len(queries), len(labels))
	return l.rulesWell(ctx)
}

// rulesWell asks Prometheus how evaluating the rules went, and tells which alerts fire: with an API
// that fails now and then some may.
func (l *live) rulesWell(ctx context.Context) error {
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError, State string }
			}
		}
	}
	if err := getJSON(ctx, l.prometheus+"/api/v1/rules", &answer); err != nil {
		return err
	}
	n := 0
	var firing []string
	for _, g := range answer.Data.Groups {
		for _, r := range g.Rules {
			n++
			if r.Health != "ok" {
				return fmt.Errorf("rule %s: %s %s", r.Name, r.Health, r.LastError)
			}
			if r.State == "firing" && !slices.Contains(firing, r.Name) {
				firing = append(firing, r.Name)
			}
		}
	}
	sort.Strings(firing)
	say("%d rules were evaluated; alerts that fire: %s", n, strings.Join(append(firing, "and no others"), ", "))
	return nil
}

// exposed are the names of the metrics that the targets show, with the labels of each. A histogram
// has its three names.
func (l *live) exposed(ctx context.Context) (map[string]map[string]bool, error) {
	labels := map[string]map[string]bool{}
	for _, address := range l.targets {
		text, err := get(ctx, "http://"+address+"/metrics")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			name, inside, has := strings.Cut(name, "{")
			if labels[name] == nil {
				labels[name] = map[string]bool{}
			}
			if !has {
				continue
			}
			inside, _, _ = strings.Cut(quoted.ReplaceAllString(inside+" "+rest, `""`), "}")
			for _, m := range matcherName.FindAllStringSubmatch(inside, -1) {
				labels[name][m[1]] = true
			}
		}
	}
	return labels, nil
}

// sample is one of a result.
type sample struct {
	Metric map[string]string `json:"metric"`
	Value  [2]any            `json:"value"`
}

func (s sample) value() string { return fmt.Sprint(s.Value[1]) }

func (l *live) query(ctx context.Context, expr string) ([]sample, error) {
	var answer struct {
		Status, Error string
		Warnings      []string
		Data          struct{ Result []sample }
	}
	err := getJSON(ctx, l.prometheus+"/api/v1/query?query="+url.QueryEscape(expr), &answer)
	if err == nil && (answer.Status != "success" || len(answer.Warnings) > 0) {
		err = fmt.Errorf("%s %s %v", answer.Status, answer.Error, answer.Warnings)
	}
	return answer.Data.Result, err
}
