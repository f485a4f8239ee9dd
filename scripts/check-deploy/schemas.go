package main

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// schemaPackage is the package with the schemas of Kubernetes' resources, from the Python index.
const schemaPackage = "kubernetes-validate==1.37.0"

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:6])
}

// schemas gives a folder with the strict schemas of some versions, as kubeconform wants them.
func schemas(ctx context.Context, versions []string) (string, error) {
	name := "schemas-" + digest([]byte(schemaPackage+strings.Join(versions, ",")))
	return filled(name, func(dir string) error {
		env := filepath.Join(dir, "venv")
		if _, err := command(ctx, "python3", "-m", "venv", env); err != nil {
			return err
		}
		if _, err := commandIn(ctx, dir, "", filepath.Join(env, "bin", "pip"), "download", "--quiet", "--no-deps", "--only-binary=:all:", schemaPackage); err != nil {
			return err
		}
		wheels, err := filepath.Glob(filepath.Join(dir, "*.whl"))
		if err != nil || len(wheels) != 1 {
			return fmt.Errorf("pip download %s: got %v, want one wheel (%w)", schemaPackage, wheels, err)
		}
		for _, v := range versions {
			if err := unpackSchemas(wheels[0], dir, v); err != nil {
				return err
			}
		}
		return os.RemoveAll(env)
	})
}

// unpackSchemas writes the strict schemas of a version. kubeconform does not find what references
// name by their place on a server, so the place goes.
func unpackSchemas(wheel, dir, version string) error {
	archive, err := zip.OpenReader(wheel)
	if err != nil {
		return err
	}
	defer archive.Close()
	from := "kubernetes_validate/kubernetes-json-schema/v" + version + "-local-strict/"
	to := filepath.Join(dir, "v"+version+"-standalone-strict")
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	n := 0
	for _, f := range archive.File {
		name, ok := strings.CutPrefix(f.Name, from)
		if !ok || name == "" || strings.Contains(name, "/") {
			continue
		}
		n++
		if err := unpackSchema(f, filepath.Join(to, name)); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	if n == 0 {
		return fmt.Errorf("%s has no schemas of version %s", schemaPackage, version)
	}
	return nil
}

func unpackSchema(f *zip.File, to string) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	content, err := io.ReadAll(io.LimitReader(r, 64<<20))
	if err != nil {
		return err
	}
	var schema map[string]any
	if err := json.Unmarshal(content, &schema); err != nil {
		return err
	}
	delete(schema, "$id")
	if content, err = json.Marshal(schema); err != nil {
		return err
	}
	return os.WriteFile(to, []byte(strings.ReplaceAll(string(content), `"/api/_definitions.json#`, `"_definitions.json#`)), 0o600)
}
