package demo

import (
	"fmt"
	"net"
	"net/http"
	"time"

	"eventworker/internal/insightsfake"
	"eventworker/internal/storefront"
)

// Credentials of the simulated shop.
const appID, apiKey = "DEMOAPP001", "demo-search-only-key"

// fakeAPI is the fake Insights API on a port of its own.
type fakeAPI struct {
	*insightsfake.Server
	server *http.Server
	url    string
}

func startAPI(o *Options) (*fakeAPI, error) {
	fake := insightsfake.New(insightsfake.Options{Credentials: map[string][]string{appID: {apiKey}}, Keep: true})
	if err := fake.SetFaults(script(o)); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start the fake Insights API: %w", err)
	}
	server := &http.Server{Handler: fake, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }()
	return &fakeAPI{Server: fake, server: server, url: "http://" + l.Addr().String()}, nil
}

func (a *fakeAPI) close() { _ = a.server.Close() }

// script is what goes wrong at the API: some objects are always refused, and with faults there is a
// little of everything after which the API has not taken the events, so that nothing may come twice.
func script(o *Options) insightsfake.Faults {
	d := func(d time.Duration) insightsfake.Duration { return insightsfake.Duration(d) }
	s := insightsfake.Faults{Seed: o.Seed, Faults: []insightsfake.Fault{
		{Kind: insightsfake.Refuse, ObjectIDs: storefront.DefaultRules().RefusedObjects, For: d(24 * time.Hour)},
	}}
	if o.Faults {
		s.Faults = append(s.Faults,
			insightsfake.Fault{Kind: insightsfake.Latency, Delay: d(20 * time.Millisecond), Jitter: d(15 * time.Millisecond), For: d(10 * time.Second)},
			insightsfake.Fault{Kind: insightsfake.Status, Status: 429, RetryAfter: d(time.Second), AfterRequests: 10, Count: 2},
			insightsfake.Fault{Kind: insightsfake.Status, Status: 503, AfterRequests: 20, Count: 3},
			insightsfake.Fault{Kind: insightsfake.Reset, AfterRequests: 30, Count: 3, Probability: 0.2},
			insightsfake.Fault{Kind: insightsfake.SizeLimit, Bytes: 100_000, AfterRequests: 40, Count: 3},
			insightsfake.Fault{Kind: insightsfake.Revoked, AfterRequests: 60, Count: 2},
		)
	}
	if o.Script != nil {
		o.Script(&s)
	}
	return s
}
