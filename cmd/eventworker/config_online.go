package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"eventworker/internal/config"
	"eventworker/internal/insights"
)

// checkedApplication is what config check --online says of one application.
type checkedApplication struct {
	Name string `json:"name"`
	// OK says that the API knows the key and that events can be sent with it.
	OK      bool     `json:"ok"`
	Rights  []string `json:"rights,omitempty"`
	Message string   `json:"message"`
}

// askRights asks the API for the rights of each key that a worker with this configuration would use. It
// sends no event. unsure is nil unless the API could not be asked.
func askRights(ctx context.Context, cfg *config.Config, endpoint string) (answers []checkedApplication, unsure error) {
	for _, name := range slices.Sorted(maps.Keys(cfg.Insights.Applications)) {
		if !cfg.Insights.Serves(name) {
			continue
		}
		answer, err := askApplication(ctx, name, cfg.Insights.Applications[name], endpoint)
		answers = append(answers, answer)
		var passing *insights.RetryableError
		if errors.As(err, &passing) {
			unsure = fmt.Errorf("application %s: %w", name, err)
		}
	}
	return answers, unsure
}

func askApplication(ctx context.Context, name string, a config.Application, endpoint string) (checkedApplication, error) {
	answer := checkedApplication{Name: name}
	key, err := a.ReadKey()
	var rights insights.Rights
	if err == nil {
		rights, err = insights.ReadRights(ctx, a.AppID, key, endpoint, nil)
	}
	switch {
	case err != nil:
		answer.Message = err.Error()
		return answer, err
	case !rights.MaySend():
		answer.Message = fmt.Sprintf("the key lacks the right search, without which no event can be sent; it has %s", listed(rights.ACL))
	default:
		answer.OK = true
		answer.Message = "the key has the right search: events can be sent with it"
		if rights.ExpiresIn > 0 {
			answer.Message += fmt.Sprintf("; it expires in %v", rights.ExpiresIn)
		}
	}
	answer.Rights = rights.ACL
	return answer, nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// onlineVerdict is the error of what was heard: refused keys are mistakes in the configuration; what
// could not be asked is a failure.
func onlineVerdict(answers []checkedApplication, unsure error) error {
	if unsure != nil {
		return unsure
	}
	refused := 0
	for _, a := range answers {
		if !a.OK {
			refused++
		}
	}
	if refused > 0 {
		return withCode(exitUsage, "", fmt.Errorf("%s cannot deliver", plural(refused, "application")))
	}
	return nil
}
