package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"eventworker/internal/config"
	"eventworker/internal/dlq"
	"eventworker/internal/insights"
	"eventworker/internal/telemetry"
	"eventworker/internal/worker"
)

// forgetCall is what the flags of forget say.
type forgetCall struct {
	admin   []string
	confirm string
	api     bool
	keyFile string
	output  string
	token   string
}

// forgotten is what forget prints as JSON.
type forgotten struct {
	Schema  string `json:"schema"` // eventworker.forgotten/v1
	User    string `json:"user"`   // masked
	Workers []struct {
		Admin string `json:"admin"`
		*worker.ForgetReport
	} `json:"workers"`
	API []forgottenAPI `json:"api"`
	// Complete: the user's history is removed, nothing is on its way, and the API took what was asked of it.
	Complete bool `json:"complete"`
}

type forgottenAPI struct {
	Application string `json:"application"`
	OK          bool   `json:"ok"`
	Message     string `json:"message"`
}

func newForgetCommand(a *app) *cobra.Command {
	var c forgetCall
	cmd := &cobra.Command{
		Use:   "forget TOKEN",
		Short: "Removes what a user left, for the right to be forgotten",
		Long: `Has the workers remove the impressions and clicks of a user, in all
applications, and lets nothing that the user did until now count any more: also
not what lies unread in Kafka under the user's key, dead letters that are
replayed, or history that is read again after a store was lost. The worker
keeps that in its store's folder and in the dead letters' state topic, as a hash
of the token; the other workers learn it from there before they take the
partition. The report says if that topic is missing: then name all workers.

What was already read is delivered and waited for; --api then has the Insights
API delete the user's events (DELETE /1/usertokens), which it does within 48
hours and which needs a key with the right deleteObject. The report says what
stays in Kafka's topics, and for how long.

The token is asked for once more, unless --confirm repeats it. It stands in no
log. TOKEN may be -, which reads it from standard input.`,
		Example: `  eventworker forget user-1234 --admin worker-0:9402 --admin worker-1:9402
  eventworker forget - --confirm user-1234 --api --api-key-file k < token.txt`,
		Args: oneToken,
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := a.tokenArgument(cmd, args[0])
			if err != nil {
				return err
			}
			c.token = token
			return a.forget(cmd, &c)
		},
	}
	a.configFlags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&c.admin, "admin", nil, "a worker's admin server, `HOST:PORT`; repeat it until the one that has the partition is among them (default: admin.listen)")
	f.StringVar(&c.confirm, "confirm", "", "the `TOKEN` once more, instead of typing it")
	f.BoolVar(&c.api, "api", false, "have the Insights API delete the user's events, too")
	f.StringVar(&c.keyFile, "api-key-file", "", "a `FILE` with an API key that has the right deleteObject (default: the application's key)")
	a.schemaFlag(cmd, &c.output, worker.ForgottenSchema, "text", "json")
	return cmd
}

func (a *app) forget(cmd *cobra.Command, c *forgetCall) error {
	if c.keyFile != "" && !c.api {
		return usagef(cmd.CommandPath()+" --help", "--api-key-file needs --api")
	}
	loaded, err := a.loadConfig(c.api && c.keyFile == "")
	if err != nil {
		return err
	}
	if err := a.confirmToken(cmd, c); err != nil {
		return err
	}
	masker, _ := dlq.LoadMasker(a.configDir(), loaded.Kafka.Group)
	done := &forgotten{Schema: "eventworker.forgotten/v1", User: masker.Token([]byte(c.token)), API: []forgottenAPI{}}
	err = a.forgetInWorkers(cmd, &loaded.Config, c, done)
	if err == nil && c.api {
		a.forgetInAPI(cmd, &loaded.Config, c, done)
	}
	done.Complete = err == nil && done.whole()
	result := "done"
	if !done.Complete {
		result = "failed"
	}
	a.audit(dlq.Audit{By: who(), Action: "forget", Target: done.User, Count: int64(len(done.Workers)), Result: result})
	a.acts = true
	if werr := a.writeForgotten(c, done); werr != nil && !closedPipe(werr) || err != nil {
		return errors.Join(err, werr)
	}
	if !done.Complete {
		category := categoryData
		if slices.ContainsFunc(done.API, func(x forgottenAPI) bool { return !x.OK }) {
			category = categoryAPI
		}
		return &failure{exitRemainder, errors.New("the user is not forgotten everywhere yet; the report says where not"), "call it again", category}
	}
	return nil
}

// confirmToken wants the token once more.
func (a *app) confirmToken(cmd *cobra.Command, c *forgetCall) error {
	again := c.confirm
	if again == "" && inIsTerminal(a) {
		fmt.Fprint(a.err, "This cannot be taken back. Type the user's token once more: ")
		line, err := bufio.NewReader(a.in).ReadString('\n')
		if err != nil {
			return err
		}
		again = strings.TrimRight(line, "\r\n")
	}
	switch again {
	case c.token:
		return nil
	case "":
		return usagef(cmd.CommandPath()+" TOKEN --confirm TOKEN", "forgetting cannot be taken back: repeat the token with --confirm")
	}
	return withCode(exitGuard, "", errors.New("nothing was done: the two tokens differ"))
}

// forgetInWorkers asks each worker, and opens the folder where none answers.
func (a *app) forgetInWorkers(cmd *cobra.Command, cfg *config.Config, c *forgetCall, done *forgotten) error {
	addresses := c.admin
	if len(addresses) == 0 {
		addresses = []string{""}
	}
	add := func(admin string, r *worker.ForgetReport) {
		done.Workers = append(done.Workers, struct {
			Admin string `json:"admin"`
			*worker.ForgetReport
		}{admin, r})
	}
	for _, address := range addresses {
		client, err := adminOf(cfg, address)
		if err != nil {
			return err
		}
		var r worker.ForgetReport
		_, err = client.call(cmd.Context(), worker.ForgetPath, worker.ForgetOrder{UserToken: c.token}, &r)
		switch {
		case err == nil:
			add(client.address, &r)
		case errors.Is(err, errNoWorker) && len(c.admin) == 0:
			store, oerr := openOffline(cfg, err)
			if oerr != nil {
				return oerr
			}
			r, ferr := store.Forget(worker.ForgetOrder{UserToken: c.token})
			if err := errors.Join(ferr, store.Close()); err != nil {
				return failf("", "%w", err)
			}
			add("folder "+cfg.Store.Path, r)
		default:
			return failAdmin("call it again", err)
		}
	}
	return nil
}

// forgetInAPI asks the API for each application that the group serves.
func (a *app) forgetInAPI(cmd *cobra.Command, cfg *config.Config, c *forgetCall, done *forgotten) {
	for _, name := range slices.Sorted(maps.Keys(cfg.Insights.Applications)) {
		if !cfg.Insights.Serves(name) {
			continue
		}
		application := cfg.Insights.Applications[name]
		key, err := application.ReadKey()
		if c.keyFile != "" {
			key, err = config.Application{APIKeyFile: c.keyFile}.ReadKey()
		}
		answer := forgottenAPI{Application: name, OK: true, Message: "the API deletes the user's events within 48 hours"}
		if err == nil {
			err = (&insights.Deletion{Base: cfg.Insights.URL(), AppID: application.AppID, Key: key}).DeleteUser(cmd.Context(), c.token)
		}
		if err != nil {
			answer.OK, answer.Message = false, err.Error()
		}
		done.API = append(done.API, answer)
	}
}

// whole says whether nothing is left to be done.
func (f *forgotten) whole() bool {
	owner := false
	for _, w := range f.Workers {
		owner = owner || w.Owner && w.Settled
	}
	return owner && !slices.ContainsFunc(f.API, func(x forgottenAPI) bool { return !x.OK })
}

func (a *app) writeForgotten(c *forgetCall, done *forgotten) error {
	if c.output == "json" {
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		return enc.Encode(done)
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("user %s", done.User)
	remains := map[string]worker.Remains{}
	for _, w := range done.Workers {
		for _, note := range w.Notes {
			if !w.Shared && strings.Contains(note, "name them, too") {
				fmt.Fprintf(a.err, "note: %s: %s\n", w.Admin, note)
			}
		}
		switch {
		case !w.Owner:
			line("  %s: remembered; it does not have the user's partition", w.Admin)
		case !w.Settled:
			line("  %s: %s and %s removed; something of the user is still on its way: call again", w.Admin, plural(w.Impressions, "impression"), plural(w.Clicks, "click"))
		default:
			line("  %s: %s and %s removed; nothing is on its way", w.Admin, plural(w.Impressions, "impression"), plural(w.Clicks, "click"))
		}
		for _, r := range w.Remains {
			remains[r.Place] = r
		}
	}
	for _, x := range done.API {
		line("  Insights API, application %s: %s", x.Application, x.Message)
	}
	if len(remains) > 0 {
		line("what stays, and for how long")
		for _, name := range slices.Sorted(maps.Keys(remains)) {
			line("  %s: %s", name, remainsText(remains[name]))
		}
	}
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

func remainsText(r worker.Remains) string {
	if r.Seconds < 0 {
		if strings.Contains(r.Policy, "compact") {
			return "until a later record of the same key, or a tombstone, and compaction"
		}
		return "for ever: the topic has no retention.ms"
	}
	return "at most " + telemetry.ShortDuration(time.Duration(r.Seconds)*time.Second) + " after it was written"
}
