package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"eventworker/internal/config"
	"eventworker/internal/insights"
	"eventworker/internal/querystore"
	"eventworker/internal/worker"
)

// checkedApplication is what config check --online says of one application.
type checkedApplication struct {
	Name string `json:"name"`
	// OK says that the API knows the key and that events can be sent with it.
	OK      bool     `json:"ok"`
	Rights  []string `json:"rights,omitempty"`
	Message string   `json:"message"`
}

// checkedStore is what config check --online says of a store across a network.
type checkedStore struct {
	Kind    string `json:"kind"`
	OK      bool   `json:"ok"`
	Message string `json:"message"`
}

// storeAnswers bounds how long the store is waited for.
const storeAnswers = 15 * time.Second

// askStore asks Redis whether it can serve as the store, and leaves nothing there. answer is nil for other
// stores; unsure is nil unless Redis could not be asked.
func askStore(ctx context.Context, cfg *config.Config) (answer *checkedStore, unsure error) {
	if cfg.Store.Kind != "redis" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeAnswers)
	defer cancel()
	answer = &checkedStore{Kind: cfg.Store.Kind}
	options, err := worker.RedisOptions(cfg)
	if err == nil {
		err = askRedis(ctx, options)
	}
	if err == nil {
		answer.OK, answer.Message = true, "it answers, evicts nothing, and the key prefix is free or this group's"
		return answer, nil
	}
	answer.Message = err.Error()
	if away := (*querystore.RedisError)(nil); errors.As(err, &away) {
		unsure = fmt.Errorf("store: %w", err)
	}
	return answer, unsure
}

func askRedis(ctx context.Context, options querystore.RedisOptions) error {
	store, err := querystore.OpenRedis(options)
	if err != nil {
		return err
	}
	return errors.Join(store.Ask(ctx), store.Close())
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

// onlineVerdict is the error of what was heard: refused keys, and a store that cannot serve, are mistakes in the
// configuration; what could not be asked is a failure.
func onlineVerdict(answers []checkedApplication, store *checkedStore, unsure error) error {
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
		return &failure{exitUsage, fmt.Errorf("%s cannot deliver", plural(refused, "application")), "", categoryConfig}
	}
	if store != nil && !store.OK {
		return &failure{exitUsage, errors.New("the store cannot be used"), "", categoryConfig}
	}
	return nil
}
