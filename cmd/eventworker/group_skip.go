package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"eventworker/internal/worker"
)

// skipTimeout bounds the call of a worker's admin server.
const skipTimeout = 15 * time.Second

func newGroupSkipCommand(a *app) *cobra.Command {
	var admin, topic string
	var partition int32
	var offset int64
	cmd := &cobra.Command{
		Use:   "skip",
		Short: "Dead-letters the one message that holds up a partition",
		Long: `Asks the worker that has the partition to dead-letter its oldest unsettled
message, so that the offset can move on. /statusz of that worker names the
message, what it waits for and since when; OFFSET must be its offset, so that
nothing else is hit when it was settled meanwhile.

The dead letter has the reason expired and the rule operator.skip, and can be
replayed. A request with an event of the message that is on its way is not
called back.`,
		Example: `  eventworker group skip --admin 127.0.0.1:9402 --partition 3 --offset 1234
  eventworker group skip --admin worker-2:9402 --partition 3 --offset 1234`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"partition": {strconv.Itoa(int(partition))}, "offset": {strconv.FormatInt(offset, 10)}}
			if topic != "" {
				q.Set("topic", topic)
			}
			loaded, err := a.loadConfig(false)
			if err != nil {
				return err
			}
			token, err := loaded.Admin.ReadToken()
			if err != nil {
				return err
			}
			said, err := postAdmin(cmd.Context(), admin, token, worker.SkipPath, q)
			if err != nil {
				return err
			}
			fmt.Fprintln(a.err, said)
			return nil
		},
	}
	a.configFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&admin, "admin", "127.0.0.1:9402", "the worker's admin server, `HOST:PORT`")
	flags.StringVar(&topic, "topic", "", "the partition's `TOPIC` (default: the only input topic)")
	flags.Int32Var(&partition, "partition", 0, "the partition's `NUMBER`")
	flags.Int64Var(&offset, "offset", 0, "the message's `OFFSET`, as /statusz names it")
	a.configured(cmd, "topic", groupTopics)
	for _, name := range []string{"partition", "offset"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag was defined above
		}
	}
	return cmd
}

// postAdmin calls an action of a worker's admin server, with the token of admin.token if there is one, and
// gives what it says.
func postAdmin(ctx context.Context, admin, token, path string, q url.Values) (said string, err error) {
	ctx, cancel := context.WithTimeout(ctx, skipTimeout)
	defer cancel()
	target := url.URL{Scheme: "http", Host: admin, Path: path, RawQuery: q.Encode()}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), nil)
	if err != nil {
		return "", usagef("eventworker group skip --help", "--admin %s: %w", admin, err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", failf("curl http://"+admin+"/statusz", "the worker's admin server does not answer: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return "", failf("", "the answer of the worker's admin server: %w", err)
	}
	if res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden {
		return "", refusalOf(admin, res.StatusCode, strings.TrimSpace(string(body)))
	}
	var answer worker.SkipAnswer
	if err := json.Unmarshal(body, &answer); err != nil || res.StatusCode >= 500 || res.StatusCode == http.StatusNotFound && answer.Message == "" {
		return "", failf("curl http://"+admin+"/", "%s answers %s: is it a worker's admin server?", admin, res.Status)
	}
	if res.StatusCode != http.StatusOK {
		return "", withCode(exitGuard, "curl -s 'http://"+admin+"/statusz?format=json'", fmt.Errorf("nothing was dead-lettered: %s", strings.TrimSpace(answer.Message)))
	}
	return answer.Message, nil
}
