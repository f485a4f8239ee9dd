package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"eventworker/internal/config"
)

// checkRefused sees that wrong values are refused in words that name what is wrong. Each set is laid over
// one that is accepted, so that nothing but its own mistake refuses it.
func checkRefused(ctx context.Context, helm string) error {
	sets, err := filepath.Glob(chart + "/ci/refused/*.yaml")
	if err != nil || len(sets) == 0 {
		return fmt.Errorf("no sets of wrong values in %s/ci/refused: %w", chart, err)
	}
	for _, set := range sets {
		content, err := os.ReadFile(set)
		if err != nil {
			return err
		}
		first, _, _ := bytes.Cut(content, []byte("\n"))
		want, ok := strings.CutPrefix(string(first), "# want: ")
		if !ok {
			return fmt.Errorf("%s: its first line does not say what the refusal names", set)
		}
		said, err := command(ctx, helm, "template", "shop", chart, "--namespace", namespace, "--kube-version", newest, "--values", accepted, "--values", set)
		if err == nil {
			return fmt.Errorf("%s was rendered", set)
		}
		if !strings.Contains(said, want) {
			return fmt.Errorf("%s: the refusal does not name %q:\n%s", set, want, said)
		}
	}
	say("%d wrong sets of values are refused", len(sets))
	return checkSecretsRefused(ctx, helm)
}

// checkSecretsRefused gives each secret of the configuration in values, and sees it refused by its name.
func checkSecretsRefused(ctx context.Context, helm string) error {
	secrets := secretsOf(reflect.TypeFor[config.Config](), "config")
	if len(secrets) < 5 {
		return fmt.Errorf("found only the secrets %v in the configuration", secrets)
	}
	for _, path := range secrets {
		said, err := command(ctx, helm, "template", "shop", chart, "--kube-version", newest, "--values", accepted, "--set", path+"=SECRET")
		if err == nil || !strings.Contains(said, path+": put it into a Secret and name that in secrets.") {
			return fmt.Errorf("%s in values is not refused with the name of what to set instead:\n%s", path, said)
		}
	}
	say("%d secrets of the configuration are refused in values", len(secrets))
	return nil
}

// secretsOf are the paths of the secrets below a type of the configuration; an entry of a map is "default".
func secretsOf(t reflect.Type, path string) []string {
	switch {
	case t == reflect.TypeFor[config.Secret]():
		return []string{path}
	case t.Kind() == reflect.Map:
		return secretsOf(t.Elem(), path+".default")
	case t.Kind() != reflect.Struct:
		return nil
	}
	var all []string
	for f := range t.Fields() {
		all = append(all, secretsOf(f.Type, path+"."+f.Tag.Get("yaml"))...)
	}
	return all
}
