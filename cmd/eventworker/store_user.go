package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"eventworker/internal/config"
	"eventworker/internal/dlq"
	"eventworker/internal/querystore"
	"eventworker/internal/worker"
)

// userCall is what the flags of store user say.
type userCall struct {
	admin      []string
	query      worker.UserQuery
	at         string
	output     string
	showTokens bool
}

func newStoreUserCommand(a *app) *cobra.Command {
	var c userCall
	cmd := &cobra.Command{
		Use:   "user TOKEN",
		Short: "Shows a user's impressions and clicks, and which one an object takes",
		Long: `Asks the worker that has the user's partition what its store holds of the user:
impressions and remembered clicks with times, places in the log, queryIDs,
indexes and objects, the newest 200. With --object it says which of them an item
of that object takes, and which ones were passed over and why.

If no worker answers and the store is on disk, the folder of the configuration
is opened instead; a folder that another process has is refused. TOKEN may be -,
which reads it from standard input. The token is masked in what is printed.`,
		Example: `  eventworker store user user-1234 --admin 127.0.0.1:9402
  eventworker store user user-1234 --object sku-2 --at 2026-03-01T12:00:00Z
  eventworker store user - --admin worker-0:9402 -o json < token.txt`,
		Args: oneToken,
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := a.tokenArgument(cmd, args[0])
			if err != nil {
				return err
			}
			c.query.UserToken = token
			return a.storeUser(cmd, &c)
		},
	}
	a.configFlags(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&c.admin, "admin", nil, "a worker's admin server, `HOST:PORT`; may repeat: the one that has the partition answers (default: admin.listen)")
	f.StringVar(&c.query.Application, "application", config.DefaultApplication, "the application's `NAME` in the configuration")
	f.StringVar(&c.query.ObjectID, "object", "", "say what an item of this object `ID` takes")
	f.StringVar(&c.at, "at", "", "at this `TIME`: RFC 3339, a duration before now such as 2h, or milliseconds (default: now)")
	f.BoolVar(&c.showTokens, "show-tokens", false, "print the user token as it is")
	a.configured(cmd, "application", applicationNames)
	a.schemaFlag(cmd, &c.output, worker.StoreUserSchema, "text", "json")
	return cmd
}

func (a *app) storeUser(cmd *cobra.Command, c *userCall) error {
	if c.at != "" {
		at, err := dlq.ParseTime(c.at, clock())
		if err != nil {
			return usagef(cmd.CommandPath()+" --help", "--at: %w", err)
		}
		c.query.At = at.UnixMilli()
	}
	loaded, err := a.loadConfig(false)
	if err != nil {
		return err
	}
	h, err := a.askWorkers(cmd, &loaded.Config, c)
	if err != nil {
		return err
	}
	token := c.query.UserToken
	if !c.showTokens {
		masker, _ := dlq.LoadMasker(a.configDir(), loaded.Kafka.Group)
		token = masker.Token([]byte(token))
	}
	if c.output == "json" {
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		return enc.Encode(struct {
			UserToken string `json:"userToken"`
			*worker.UserHistory
		}{token, h})
	}
	return a.writeUser(token, h)
}

// askWorkers asks the workers, and opens the folder where none answers.
func (a *app) askWorkers(cmd *cobra.Command, cfg *config.Config, c *userCall) (*worker.UserHistory, error) {
	addresses := c.admin
	if len(addresses) == 0 {
		addresses = []string{""}
	}
	var elsewhere error
	for _, address := range addresses {
		client, err := adminOf(cfg, address)
		if err != nil {
			return nil, err
		}
		var h worker.UserHistory
		status, err := client.call(cmd.Context(), worker.StoreUserPath, &c.query, &h)
		switch {
		case err == nil:
			return &h, nil
		case status == http.StatusNotFound:
			elsewhere = err
		case errors.Is(err, errNoWorker) && len(c.admin) == 0:
			return a.offlineUser(cfg, c, err)
		default:
			return nil, failAdmin("eventworker store user --help", err)
		}
	}
	return nil, withCode(exitGuard, "eventworker group show", elsewhere)
}

func (a *app) offlineUser(cfg *config.Config, c *userCall, why error) (*worker.UserHistory, error) {
	store, err := openOffline(cfg, why)
	if err != nil {
		return nil, err
	}
	h, err := store.StoreUser(c.query)
	if err := errors.Join(err, store.Close()); err != nil {
		return nil, failf("", "%w", err)
	}
	fmt.Fprintf(a.err, "note: %v; read from the folder %s\n", why, cfg.Store.Path)
	return h, nil
}

// openOffline opens the store's folder; one that is in use is refused by the name of its user.
func openOffline(cfg *config.Config, why error) (*worker.Offline, error) {
	store, err := worker.OpenOffline(cfg)
	var locked *querystore.LockedError
	if errors.As(err, &locked) {
		return nil, withCode(exitGuard, "eventworker store user TOKEN --admin HOST:PORT", fmt.Errorf("%w, and %w", why, err))
	}
	if err != nil {
		return nil, failf("eventworker store user TOKEN --admin HOST:PORT", "%w, and without one: %w", why, err)
	}
	return store, nil
}

func (a *app) writeUser(token string, h *worker.UserHistory) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("user %s of application %s, task %d", clean(token), h.Application, h.Task)
	if h.Forgotten != nil {
		line("forgotten at %s: what is older is not shown, and answers nothing", isoTime(*h.Forgotten))
	}
	if !h.Complete {
		line("incomplete: the store still reads again what it lacks")
	}
	line("\n%s", plural(len(h.Impressions), "impression"))
	for _, i := range h.Impressions {
		shown := strings.Join(i.ObjectIDs[:min(len(i.ObjectIDs), 8)], " ")
		if more := i.Objects - min(len(i.ObjectIDs), 8); more > 0 {
			shown += fmt.Sprintf(" and %d more", more)
		}
		line("  %s  %s  %s%s  %s/%s\n    %s", isoTime(i.Time), i.QueryID, i.Index, modelText(i.Model), i.Topic, place(i.Offset, i.List), clean(shown))
	}
	if h.MoreImpressions > 0 {
		line("  and %d older ones", h.MoreImpressions)
	}
	line("\n%s", plural(len(h.Clicks), "remembered click"))
	for _, k := range h.Clicks {
		line("  %s  %s  %s  %s/%d  %s", isoTime(k.Time), k.QueryID, k.Index, k.Topic, k.Offset, clean(k.ObjectID))
	}
	if h.MoreClicks > 0 {
		line("  and %d older ones", h.MoreClicks)
	}
	if h.Explanation != nil {
		explainUser(line, h.Explanation)
	}
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

func modelText(model string) string {
	if model == "" {
		return ""
	}
	return " (" + clean(model) + ")"
}

func place(offset int64, list int) string {
	if list == 0 {
		return strconv.FormatInt(offset, 10)
	}
	return fmt.Sprintf("%d, list %d", offset, list+1)
}

// whyWords are the reasons for passing over, in words.
var whyWords = map[string]string{
	"not-asked": "join.attribution leaves it out", "after": "it lies after the event", "outside-window": "it is older than the window",
	"other-index": "another index", "other-model": "another model", "other-query-id": "another queryID", "not-newest": "not among the user's newest 200",
	"click-first": "a remembered click answers first", "older": "a newer one answers",
}

func explainUser(line func(string, ...any), x *worker.Explanation) {
	line("\nobject %s at %s", clean(x.ObjectID), isoTime(x.At))
	if x.Chosen == nil {
		line("  plain: nothing of this user answers for it")
	} else {
		position := ""
		if x.Chosen.Position > 0 {
			position = fmt.Sprintf(", position %d", x.Chosen.Position)
		}
		line("  takes the %s of %s, %s/%d: queryID %s, index %s%s", x.Chosen.Kind, isoTime(x.Chosen.Time), x.Chosen.Topic, x.Chosen.Offset, x.Chosen.QueryID, x.Chosen.Index, position)
	}
	for _, p := range slices.Clone(x.PassedOver) {
		words := whyWords[p.Why]
		if words == "" {
			words = p.Why
		}
		line("  passed over: the %s of %s, %s/%d, queryID %s: %s", p.Kind, isoTime(p.Time), p.Topic, p.Offset, p.QueryID, words)
	}
	if x.More > 0 {
		line("  and %d more", x.More)
	}
}
