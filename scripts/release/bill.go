package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// bom is what this program reads of a bill of materials.
type bom struct {
	Format   string `json:"bomFormat"`
	Metadata struct {
		Timestamp string `json:"timestamp"`
		Component struct {
			Name    string `json:"name"`
			Version string `json:"version"`
		} `json:"component"`
	} `json:"metadata"`
	Components []struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	} `json:"components"`
}

// steadyBill replaces the time at which a bill was written by the commit's, so that the same commit
// gives the same bill.
func steadyBill(file string, at time.Time) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var all map[string]any
	if err := json.Unmarshal(content, &all); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	metadata, ok := all["metadata"].(map[string]any)
	if !ok {
		return fmt.Errorf("%s: no metadata", file)
	}
	metadata["timestamp"] = at.Format(time.RFC3339)
	if content, err = json.MarshalIndent(all, "", "  "); err != nil {
		return err
	}
	return os.WriteFile(file, append(content, '\n'), 0o644)
}

// checkBill says whether a bill is one of this program that names its modules.
func checkBill(file string) error {
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var b bom
	if err := json.Unmarshal(content, &b); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if b.Format != "CycloneDX" || b.Metadata.Component.Name != "eventworker" {
		return fmt.Errorf("%s: not a CycloneDX bill of eventworker", file)
	}
	for _, c := range b.Components {
		if c.Name == "github.com/segmentio/kafka-go" && c.Version != "" {
			return nil
		}
	}
	return fmt.Errorf("%s: kafka-go is not among its %d components", file, len(b.Components))
}
