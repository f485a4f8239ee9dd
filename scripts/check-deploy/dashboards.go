package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// nodeFolder has what Node needs.
const nodeFolder = "scripts/check-deploy/node"

// checkDashboard holds the dashboard against Grafana's own types, and each panel to a description.
// There is no Grafana here: that it draws what it should is not checked.
func checkDashboard(ctx context.Context, c *checks) error {
	if _, err := command(ctx, "go", "run", "./scripts/dashboard", "-check"); err != nil {
		return err
	}
	d, err := readDashboard()
	if err != nil {
		return err
	}
	panels := d.all()
	for _, p := range panels {
		if !strings.HasPrefix(p.Description, "Good: ") || !strings.Contains(p.Description, "Otherwise: ") {
			return fmt.Errorf("panel %d, %q, does not say what is good and what to do otherwise", p.ID, p.Title)
		}
	}
	node, err := nodeModules(ctx)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(dashboardFile)
	if err != nil {
		return err
	}
	dir := filepath.Join(c.work, "types")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	if err := os.Symlink(filepath.Join(node, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		return err
	}
	types, err := os.ReadFile(nodeFolder + "/types.ts")
	if err != nil {
		return err
	}
	source := "import type { File } from \"./types.js\";\nexport const file: File = " + string(content)
	for name, text := range map[string]string{"types.ts": string(types), "dashboard.ts": source, "package.json": `{"type": "module"}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if _, err := commandIn(ctx, dir, "", "node", "node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--skipLibCheck",
		"--module", "nodenext", "--moduleResolution", "nodenext", "--target", "es2022", "dashboard.ts"); err != nil {
		return err
	}
	say("%d panels have Grafana's types; that Grafana draws them is not checked, there is none here", len(panels))
	return nil
}

// nodeModules gives a folder with what package.json asks for.
func nodeModules(ctx context.Context) (string, error) {
	lock, err := os.ReadFile(nodeFolder + "/package-lock.json")
	if err != nil {
		return "", err
	}
	return filled("node-"+digest(lock), func(dir string) error {
		for _, name := range []string{"package.json", "package-lock.json", "crds.mjs"} {
			content, err := os.ReadFile(nodeFolder + "/" + name)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				return err
			}
		}
		_, err := commandIn(ctx, dir, "", "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
		return err
	})
}
