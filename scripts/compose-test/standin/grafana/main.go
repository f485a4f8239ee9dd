// Command grafana stands in for Grafana in the compose test, where no image of it can be had: it reads what
// is provisioned as Grafana would find it, ends with an error if something is missing, and answers the
// health check. Called as curl it asks a URL.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const provisioning = "/etc/grafana/provisioning"

func main() {
	var err error
	if filepath.Base(os.Args[0]) == "curl" {
		err = ask(os.Args[len(os.Args)-1])
	} else {
		err = serve()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ask(url string) error {
	client := http.Client{Timeout: 4 * time.Second}
	res, err := client.Get(url)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	return nil
}

// found is what is provisioned.
type found struct {
	Datasources []string `json:"datasources"` // uids
	Dashboards  []string `json:"dashboards"`  // uids
}

func serve() error {
	f, err := read()
	if err != nil {
		return err
	}
	fmt.Printf("stand-in for Grafana: %d datasources, %d dashboards: %s\n", len(f.Datasources), len(f.Dashboards), strings.Join(f.Dashboards, ", "))
	answer := func(v any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(v)
		}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /api/health", answer(map[string]string{"database": "ok", "version": "stand-in"}))
	mux.Handle("GET /stand-in", answer(f))
	server := http.Server{Addr: ":3000", Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	return server.ListenAndServe()
}

func read() (*found, error) {
	f := &found{Datasources: []string{}, Dashboards: []string{}}
	if err := each(provisioning+"/datasources", ".yml", f.datasources); err != nil {
		return nil, err
	}
	if err := each(provisioning+"/dashboards", ".yml", f.provider); err != nil {
		return nil, err
	}
	if len(f.Datasources) == 0 || len(f.Dashboards) == 0 {
		return nil, fmt.Errorf("provisioned are %d datasources and %d dashboards", len(f.Datasources), len(f.Dashboards))
	}
	return f, nil
}

// each reads the files of a folder with this extension.
func each(dir, extension string, read func(content []byte) error) error {
	names, err := filepath.Glob(filepath.Join(dir, "*"+extension))
	if err != nil {
		return err
	}
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err == nil {
			err = read(content)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (f *found) datasources(content []byte) error {
	var file struct {
		Datasources []struct{ UID, Type, URL string }
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		return err
	}
	for _, d := range file.Datasources {
		if d.UID == "" || d.Type == "" || d.URL == "" {
			return errors.New("a datasource without uid, type or url")
		}
		f.Datasources = append(f.Datasources, d.UID)
	}
	return nil
}

func (f *found) provider(content []byte) error {
	var file struct {
		Providers []struct {
			Name    string
			Options struct{ Path string }
		}
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		return err
	}
	for _, p := range file.Providers {
		if err := each(p.Options.Path, ".json", f.dashboard); err != nil {
			return err
		}
	}
	home := os.Getenv("GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH")
	if _, err := os.Stat(home); home != "" && err != nil {
		return fmt.Errorf("the home dashboard: %w", err)
	}
	return nil
}

func (f *found) dashboard(content []byte) error {
	var file struct {
		UID, Title string
		Panels     []any
	}
	if err := json.Unmarshal(content, &file); err != nil {
		return err
	}
	if file.UID == "" || file.Title == "" || len(file.Panels) == 0 {
		return errors.New("a dashboard without uid, title or panels")
	}
	f.Dashboards = append(f.Dashboards, file.UID)
	return nil
}
