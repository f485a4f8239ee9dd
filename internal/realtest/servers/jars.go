package servers

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed pom.xml
var pom []byte

const copyDependencies = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

// KafkaJars returns the folder of the jars of Apache Kafka, which Maven fills on first use (93 jars,
// 54 MB). It lies in the user's cache folder, under a name that changes with pom.xml.
func KafkaJars(ctx context.Context) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache folder for Kafka's jars: %w", err)
	}
	sum := sha256.Sum256(pom)
	parent := filepath.Join(cache, "eventworker")
	jars := filepath.Join(parent, "kafka-"+hex.EncodeToString(sum[:4]))
	if _, err := os.Stat(jars); err == nil {
		return jars, nil
	}
	if err := fetchJars(ctx, parent, jars); err != nil {
		return "", fmt.Errorf("fetch Kafka's jars with Maven: %w", err)
	}
	return jars, nil
}

// fetchJars fills a folder beside the final one and renames it, so that an interrupted or a second
// fetch never leaves half of them.
func fetchJars(ctx context.Context, parent, jars string) error {
	if _, err := exec.LookPath("mvn"); err != nil {
		return fmt.Errorf("install Maven and Java 17 or later: %w", err)
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	work, err := os.MkdirTemp(parent, "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), pom, 0o600); err != nil {
		return err
	}
	libs := filepath.Join(work, "libs")
	maven := exec.CommandContext(ctx, "mvn", "--quiet", "--batch-mode", "--file", filepath.Join(work, "pom.xml"),
		copyDependencies, "-DoutputDirectory="+libs)
	if out, err := maven.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, tail(out))
	}
	if err := os.Rename(libs, jars); err != nil && !errors.Is(err, fs.ErrExist) {
		if _, gone := os.Stat(jars); gone != nil {
			return err
		}
	}
	return nil
}

// tail is the end of a program's output, enough to see why it failed.
func tail(out []byte) []byte {
	const enough = 4096
	if len(out) > enough {
		return out[len(out)-enough:]
	}
	return out
}
