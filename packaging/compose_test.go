package packaging_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"

	"github.com/caddy-sesame/caddy-sesame/packaging/image"
)

// composeProject is compose.yaml as Docker Compose reads it, which checks it by the
// specification's schema.
func composeProject(t *testing.T) *types.Project {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{"compose/compose.yaml"}, cli.WithWorkingDirectory("compose"))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return project
}

func TestComposeServicesHaveHealthChecksBeforeOthersDependOnThem(t *testing.T) {
	t.Parallel()
	project := composeProject(t)
	if len(project.Services) != 3 {
		t.Errorf("there are %d services", len(project.Services))
	}
	for name, service := range project.Services {
		if service.HealthCheck == nil || len(service.HealthCheck.Test) < 2 {
			t.Errorf("%s has no health check", name)
		}
		for other, dependency := range service.DependsOn {
			if dependency.Condition != types.ServiceConditionHealthy {
				t.Errorf("%s waits for %s to be %s", name, other, dependency.Condition)
			}
		}
	}
	gateway := project.Services["gateway"]
	if repository, _, _ := strings.Cut(gateway.Image, ":"); repository != image.Name {
		t.Errorf("the gateway's image is %s", gateway.Image)
	}
	if want := (types.HealthCheckTest{"CMD", "/usr/bin/caddy", "sesame", "probe", "http://localhost:8080/_sesame/ready"}); !slices.Equal(gateway.HealthCheck.Test, want) {
		t.Errorf("the gateway's health check is %q", gateway.HealthCheck.Test)
	}
}

// TestComposeLeadsToTheApplicationThroughTheGatewayAlone: else a client could say
// itself who the user is.
func TestComposeLeadsToTheApplicationThroughTheGatewayAlone(t *testing.T) {
	t.Parallel()
	project := composeProject(t)
	for name, service := range project.Services {
		if name != "gateway" && len(service.Ports) > 0 {
			t.Errorf("%s publishes ports", name)
		}
		for network := range service.Networks {
			if name != "gateway" && !project.Networks[network].Internal {
				t.Errorf("%s is in the network %s, which isn't internal", name, network)
			}
		}
	}
}

// secretFile is a mounted secret in a Caddyfile, or in a variable.
var secretFile = regexp.MustCompile(`/run/secrets/([\w/]+)`)

func TestComposeMountsTheSecretsThatAreRead(t *testing.T) {
	t.Parallel()
	project := composeProject(t)
	caddyfile, err := os.ReadFile("compose/Caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	read := map[string]string{"gateway": string(caddyfile)}
	for name, service := range project.Services {
		for _, value := range service.Environment {
			if value != nil {
				read[name] += *value + "\n"
			}
		}
	}
	for name, text := range read {
		var mounted, wanted []string
		for _, secret := range project.Services[name].Secrets {
			mounted = append(mounted, secret.Source)
			if project.Secrets[secret.Source].File == "" {
				t.Errorf("the secret %s of %s is no file", secret.Source, name)
			}
		}
		for _, match := range secretFile.FindAllStringSubmatch(text, -1) {
			wanted = append(wanted, match[1])
		}
		slices.Sort(mounted)
		slices.Sort(wanted)
		if wanted = slices.Compact(wanted); !slices.Equal(mounted, wanted) {
			t.Errorf("%s has the secrets %q, and reads %q", name, mounted, wanted)
		}
	}
}

func TestComposeMountsFilesThatAreThere(t *testing.T) {
	t.Parallel()
	mounts := 0
	for name, service := range composeProject(t).Services {
		for _, volume := range service.Volumes {
			if volume.Type != types.VolumeTypeBind {
				continue
			}
			mounts++
			if _, err := os.Stat(volume.Source); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if filepath.Base(volume.Source) != filepath.Base(volume.Target) || !volume.ReadOnly {
				t.Errorf("%s mounts %s at %s, read-only: %t", name, volume.Source, volume.Target, volume.ReadOnly)
			}
		}
	}
	if mounts != 3 {
		t.Errorf("%d files are mounted", mounts)
	}
}
