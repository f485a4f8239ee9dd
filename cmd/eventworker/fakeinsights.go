package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"eventworker/internal/insightsfake"
)

// fake is what the flags of fake-insights say.
type fake struct {
	listen     string
	apps, keys []string
	keep       bool
	lenient    bool
	faultsFile string

	latency     time.Duration
	errorRate   float64
	errorStatus int
	resetRate   float64
	lostRate    float64
	refuse      []string
	seed        uint64
}

func newFakeInsightsCommand(a *app) *cobra.Command {
	var f fake
	cmd := &cobra.Command{
		Use:   "fake-insights",
		Short: "Serves a strict fake of the Insights API",
		Long: `Serves a fake of the Insights API that checks every rule of the real one, for
tests and for trying the worker out. Point insights.endpoint at it.

  POST /1/events            the API
  GET /stats                what came and what was answered, as JSON
  GET /accepted             digests of what was accepted (with --keep)
  GET /faults, PUT /faults  the script of faults, as in --faults
  POST /reset               forgets events, counts and faults

Faults come from a script (--faults) or from the simple flags below. They
concern POST /1/events only.`,
		Example: `  eventworker fake-insights
  eventworker fake-insights --app APP --key KEY --latency 50ms
  eventworker fake-insights --error-rate 0.1 --error-status 429
  eventworker run --set insights.endpoint=http://127.0.0.1:9401`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := f.options()
			if err != nil {
				return err
			}
			faults, err := f.faults()
			if err != nil {
				return err
			}
			return a.serveFake(cmd.Context(), f.listen, options, faults)
		},
	}
	f.flags(cmd)
	return cmd
}

func (f *fake) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:9401", "listen on this `HOST:PORT`")
	flags.StringArrayVar(&f.apps, "app", nil, "accept this application `ID`, with the --key of the same place only; may repeat")
	flags.StringArrayVar(&f.keys, "key", nil, "the `KEY` of an --app")
	flags.BoolVar(&f.keep, "keep", false, "remember a digest of each event, for duplicates and /accepted")
	flags.BoolVar(&f.lenient, "lenient", false, "accept what the API tolerates although its documentation warns of it")
	flags.StringVar(&f.faultsFile, "faults", "", "script of faults, a JSON `FILE`")
	flags.DurationVar(&f.latency, "latency", 0, "answer this `TIME` later")
	flags.Float64Var(&f.errorRate, "error-rate", 0, "`SHARE` of requests answered with --error-status")
	flags.IntVar(&f.errorStatus, "error-status", http.StatusServiceUnavailable, "HTTP `STATUS` of --error-rate")
	flags.Float64Var(&f.resetRate, "reset-rate", 0, "`SHARE` of requests whose connection is cut")
	flags.Float64Var(&f.lostRate, "lost-rate", 0, "`SHARE` of requests taken, whose answer is lost")
	flags.StringArrayVar(&f.refuse, "refuse", nil, "refuse events with this object `ID`; may repeat")
	flags.Uint64Var(&f.seed, "seed", 1, "another `N` strikes other requests")
	for _, simple := range []string{"latency", "error-rate", "error-status", "reset-rate", "lost-rate", "refuse", "seed"} {
		cmd.MarkFlagsMutuallyExclusive("faults", simple)
	}
}

func (f *fake) options() (insightsfake.Options, error) {
	o := insightsfake.Options{Keep: f.keep, Lenient: f.lenient}
	if len(f.apps) != len(f.keys) {
		return o, usagef("eventworker fake-insights --app APP --key KEY", "want a --key for each --app, got %d and %d", len(f.keys), len(f.apps))
	}
	for i, id := range f.apps {
		if o.Credentials == nil {
			o.Credentials = map[string][]string{}
		}
		o.Credentials[id] = append(o.Credentials[id], f.keys[i])
	}
	return o, nil
}

// faults are those of the script, or those that the simple flags make, which last as long as the
// process.
func (f *fake) faults() (insightsfake.Faults, error) {
	const try = "eventworker fake-insights --help"
	if f.faultsFile != "" {
		content, err := os.ReadFile(f.faultsFile)
		if err != nil {
			return insightsfake.Faults{}, err
		}
		faults, err := insightsfake.ParseFaults(content)
		if err != nil {
			return faults, usagef(try, "%s: %w", f.faultsFile, err)
		}
		return faults, nil
	}
	const ever = insightsfake.Duration(100 * 365 * 24 * time.Hour)
	s := insightsfake.Faults{Seed: f.seed}
	add := func(wanted bool, fault insightsfake.Fault) {
		if wanted {
			fault.For = ever
			s.Faults = append(s.Faults, fault)
		}
	}
	for flag, share := range map[string]float64{"error-rate": f.errorRate, "reset-rate": f.resetRate, "lost-rate": f.lostRate} {
		if !(share >= 0 && share <= 1) {
			return s, usagef(try, "--%s wants a share from 0 to 1, got %v", flag, share)
		}
	}
	add(f.latency != 0, insightsfake.Fault{Kind: insightsfake.Latency, Delay: insightsfake.Duration(f.latency)})
	add(f.errorRate > 0, insightsfake.Fault{Kind: insightsfake.Status, Status: f.errorStatus, Probability: f.errorRate})
	add(f.resetRate > 0, insightsfake.Fault{Kind: insightsfake.Reset, Probability: f.resetRate})
	add(f.lostRate > 0, insightsfake.Fault{Kind: insightsfake.LostAnswer, Probability: f.lostRate})
	add(len(f.refuse) > 0, insightsfake.Fault{Kind: insightsfake.Refuse, ObjectIDs: f.refuse})
	if err := s.Validate(); err != nil {
		return s, usagef(try, "%w", err)
	}
	return s, nil
}

// serveFake serves until it is interrupted, which is how a server ends well.
func (a *app) serveFake(ctx context.Context, listen string, o insightsfake.Options, faults insightsfake.Faults) error {
	api := insightsfake.New(o)
	if err := api.SetFaults(faults); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return failf("eventworker fake-insights --listen 127.0.0.1:0", "cannot listen on %s: %w", listen, cause(err))
	}
	// A late answer is one of the faults, so writing has no time limit.
	server := &http.Server{Handler: api, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: 2 * time.Minute}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	who := "any application and key"
	if len(o.Credentials) > 0 {
		who = plural(len(o.Credentials), "application")
	}
	fmt.Fprintf(a.err, "fake Insights API on http://%s for %s, %s\n", listener.Addr(), who, plural(len(faults.Faults), "fault"))
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	polite, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if server.Shutdown(polite) != nil {
		server.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	s := api.Stats()
	fmt.Fprintf(a.err, "answered %s; accepted %s, refused %d\n",
		plural(int(s.Requests), "request"), plural(int(s.Events.Accepted), "event"), s.Events.Refused)
	return nil
}

// cause leaves out what net repeats of an address.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}
