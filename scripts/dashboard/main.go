// Command dashboard writes Grafana's dashboard of eventworker from the tables in this folder:
//
//	go run ./scripts/dashboard            # writes deploy/grafana/dashboards/eventworker.json
//	go run ./scripts/dashboard -check     # says whether it is what would be written
//
// Panels stand in the order in which somebody asks: is it well, where is it stuck, what is refused,
// which partition. Each says what is good and what to do otherwise; a panel's number never changes,
// as alerts link it.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
)

const file = "deploy/grafana/dashboards/eventworker.json"

func main() {
	check := flag.Bool("check", false, "only compare with the file")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	content, err := render()
	if err != nil {
		return err
	}
	if !check {
		return os.WriteFile(file, content, 0o644)
	}
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !bytes.Equal(old, content) {
		return errors.New(file + " is not what the tables say: go run ./scripts/dashboard")
	}
	return nil
}

// render is the dashboard's file.
func render() ([]byte, error) {
	content, err := json.MarshalIndent(newDashboard(), "", "  ")
	if err != nil {
		return nil, err
	}
	return append(content, '\n'), nil
}
