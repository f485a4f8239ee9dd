package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"eventworker/internal/telemetry"
)

var namedMetric = regexp.MustCompile("`(eventworker_[a-z0-9_]+)")

// checkDocs holds the metrics that documents name against those that there are.
func checkDocs(context.Context, *checks) error {
	known := map[string]bool{}
	for i := range telemetry.Definitions {
		known[telemetry.Definitions[i].Name] = true
	}
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		return err
	}
	named := 0
	var wrong []error
	for _, file := range append(files, "README.md", "CHANGELOG.md") {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for n, line := range strings.Split(string(content), "\n") {
			for _, m := range namedMetric.FindAllStringSubmatch(line, -1) {
				named++
				if !known[m[1]] && !strings.HasSuffix(m[1], "_") {
					wrong = append(wrong, fmt.Errorf("%s:%d names %s, which is no metric", file, n+1, m[1]))
				}
			}
		}
	}
	say("%d mentions of metrics in documents", named)
	return errors.Join(wrong...)
}
