package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"eventworker/internal/config"
)

// The waits of the command health.
const (
	healthTimeout = 4 * time.Second        // of one question
	healthEvery   = 500 * time.Millisecond // between questions, with --wait
	healthAnswer  = 16 << 10               // bytes of an answer that are shown
)

func newHealthCommand(a *app) *cobra.Command {
	var admin string
	var live bool
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Asks a worker whether it is ready",
		Long: `Asks a worker's admin server whether it is ready, and fails with exit code 1 if
it is not, or does not answer. It is what container images without a shell use
as their health check. What is missing is told on standard error.

--admin takes HOST:PORT, or a URL. A URL with a path is asked as it is, any
answer with status 200 will do. Without it the address is the configuration's
admin.listen: of --config and --set, or of the variable
EVENTWORKER_ADMIN__LISTEN; one that stands for all addresses is asked on this
host.`,
		Example: `  eventworker health
  eventworker health --config eventworker.yaml
  eventworker health --admin worker-2:9402 --wait 60s
  eventworker health --live
  eventworker health --admin http://127.0.0.1:9401/stats`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if admin == "" {
				listen, err := a.adminListen()
				if err != nil {
					return err
				}
				admin = listen
			}
			target, err := healthTarget(admin, live)
			if err != nil {
				return err
			}
			said, err := awaitHealth(cmd.Context(), target, wait)
			if err != nil {
				return failf("", "%w", err)
			}
			fmt.Fprintln(a.out, said)
			return nil
		},
	}
	flags := cmd.Flags()
	a.configFlags(cmd)
	flags.StringVar(&admin, "admin", "", "the admin server, `HOST:PORT` or a URL (default: admin.listen)")
	flags.BoolVar(&live, "live", false, "ask whether it is alive (/livez), not whether it is ready")
	flags.DurationVar(&wait, "wait", 0, "ask again for up to this `TIME` until it is")
	return cmd
}

// adminListen is the configuration's admin.listen, as it is reached from this host. Without a file nothing
// but this setting is looked at: what else is wrong is not what was asked.
func (a *app) adminListen() (string, error) {
	env := a.env
	if a.configFile == "" {
		env = nil
		for _, entry := range a.env {
			if name, _, _ := strings.Cut(entry, "="); name == config.EnvName("admin") || strings.HasPrefix(name, config.EnvName("admin.listen")) {
				env = append(env, entry)
			}
		}
	}
	loaded, err := config.Load(config.Sources{File: a.configFile, Env: env, Set: a.set})
	if err != nil {
		return "", err
	}
	const try = "eventworker health --admin 127.0.0.1:9402"
	switch listen := loaded.Admin.Listen; {
	case listen == "":
		return "", failf(try, "admin.listen is empty: this worker has no admin server to ask")
	case strings.HasSuffix(listen, ":0"):
		return "", failf(try, "admin.listen is %s: only the worker's log tells the port that it got", listen)
	default:
		return reachable(listen), nil
	}
}

// reachable is an address that a server listens on as a client on the same host reaches it: one that stands
// for all addresses is that of the loopback interface.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	ip := net.ParseIP(host)
	switch {
	case host == "" || ip != nil && ip.IsUnspecified() && ip.To4() != nil:
		return net.JoinHostPort("127.0.0.1", port)
	case ip != nil && ip.IsUnspecified():
		return net.JoinHostPort("::1", port)
	}
	return listen
}

// healthTarget is the URL to ask.
func healthTarget(admin string, live bool) (string, error) {
	if !strings.Contains(admin, "://") {
		admin = "http://" + admin
	}
	u, err := url.Parse(admin)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return "", usagef("eventworker health --admin 127.0.0.1:9402", "--admin wants HOST:PORT or an http URL, got %q", admin)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/readyz"
		if live {
			u.Path = "/livez"
		}
	}
	return u.String(), nil
}

// awaitHealth asks until the answer is good or the time is over; then the last answer is the error.
func awaitHealth(ctx context.Context, target string, wait time.Duration) (said string, err error) {
	deadline := time.Now().Add(wait)
	for {
		if said, err = askHealth(ctx, target); err == nil {
			return said, nil
		}
		if next := time.Now().Add(healthEvery); next.After(deadline) || sleepUntil(ctx, next) != nil {
			return "", err
		}
	}
}

// askHealth asks once. What a good answer says is its text, if that is a line.
func askHealth(ctx context.Context, target string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, healthTimeout, errors.New("no answer in "+healthTimeout.String()))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "text/plain")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = cause(u.Err)
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return "", fmt.Errorf("%s does not answer: %w", target, err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(res.Body, healthAnswer)) // the status counts
	text := strings.TrimSpace(string(body))
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %s: %s", target, res.Status, strings.ReplaceAll(text, "\n", "; "))
	}
	if text == "" || strings.Contains(text, "\n") {
		text = "ok"
	}
	return text, nil
}
