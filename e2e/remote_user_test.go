package e2e_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

// TestAdminOfAnotherDjango has a project as startproject makes it behind the
// gateway, configured as its guide says.
func TestAdminOfAnotherDjango(t *testing.T) {
	page := readGuide(t, "applications/django.md")
	caddyfile := page.block(t, "## The Caddyfile", "caddyfile")
	documented, origin := origins(t, caddyfile)

	project := startProject(t)
	project.append(t, "gateway.py", page.block(t, "## The middleware", "python"))
	project.append(t, "shop/settings.py", page.block(t, "## The settings", "python"))
	project.manage(t, "migrate", "--verbosity", "0")
	for _, u := range []testUser{alice, zoe} {
		project.manage(t, "shell", "-c", fmt.Sprintf("from django.contrib.auth.models import User; User.objects.create(username=%q, is_staff=True, is_superuser=True)", u.username))
	}
	// An account with a password, as from the time before the gateway.
	project.manage(t, "shell", "-c", fmt.Sprintf("from django.contrib.auth.models import User; User.objects.create_superuser('root', password=%q)", djangoPassword))
	addr := project.serve(t)

	a := &application{
		gateway: startDocumented(t, caddyfile, origin, map[string]string{"127.0.0.1:8000": addr}),
		path:    "/admin/",
		shown:   `document.querySelector("#user-tools strong").textContent`,
		keeps:   []string{"csrftoken"},
	}
	if !strings.HasPrefix(origin, documented) {
		t.Fatalf("ALLOWED_HOSTS has no host of %s", origin)
	}
	a.checkUsers(t, alice, zoe)

	t.Run("its form for logging in logs in nobody else", func(t *testing.T) {
		b := a.newTab(t)
		a.logIn(b, zoe)
		b.open(a.origin + "/admin/password_change/") // a page with Django's token
		b.script(fmt.Sprintf(`const form = document.createElement("form"), token = document.querySelector("[name=csrfmiddlewaretoken]");
			form.method = "post"; form.action = "/admin/login/?next=/admin/"; form.append(token);
			for (const [name, value] of [["username", "root"], ["password", %q]]) {
				const field = document.createElement("input"); field.name = name; field.value = value; form.append(field);
			}
			document.body.append(form); form.id = "forged"`, djangoPassword))
		b.load(evaluate(`document.querySelector("#forged").submit()`))
		if got := b.text(`document.body.innerText`); !strings.Contains(got, "Please enter the correct username and password") {
			t.Errorf("the form is answered %.300s", got)
		}
		b.open(a.origin + a.path)
		a.wantUser(b, zoe)
	})
	t.Run("its forms work, and its own logout is the gateway's", func(t *testing.T) {
		b := a.newTab(t)
		a.logIn(b, zoe)
		b.open(a.origin + "/admin/auth/group/add/")
		b.do(chromedp.SendKeys(chromedp.CSS("#id_name"), "Gärtner"))
		b.click("[name=_save]")
		if got := b.text(`document.body.innerText`); !strings.Contains(got, "Gärtner") || !strings.Contains(got, "was added successfully") {
			t.Errorf("the form is answered %.300s", got)
		}
		b.click(`#logout-form button, #user-tools a[href="/admin/logout/"]`)
		b.wantTitle("Log out")
		b.click("button")
		a.wantNobody(b)
	})
	t.Run("a user without an account gets Django's page for logging in, and no account", func(t *testing.T) {
		b := a.newTab(t)
		a.logIn(b, carol)
		if got := b.text(`document.querySelector("#login-form, form") !== null && document.querySelector("#user-tools") === null`); got != "true" {
			t.Errorf("the page is %s: %.300s", b.url(), b.text(`document.body.innerText`))
		}
	})
}

// project is a Django project of its own.
type project struct{ dir, python string }

func startProject(t *testing.T) project {
	t.Helper()
	p := project{dir: t.TempDir(), python: testprogram.Python(t, "django")}
	p.run(t, "-m", "django", "startproject", "shop", p.dir)
	return p
}

// append writes to the end of a file of the project.
func (p project) append(t *testing.T, name, text string) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(p.dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteString(text)
	if closed := file.Close(); err != nil || closed != nil {
		t.Fatal(err, closed)
	}
}

// manage runs a command of manage.py.
func (p project) manage(t *testing.T, arguments ...string) {
	t.Helper()
	p.run(t, append([]string{"manage.py"}, arguments...)...)
}

func (p project) run(t *testing.T, arguments ...string) {
	t.Helper()
	if output, err := p.command(arguments...).CombinedOutput(); err != nil {
		t.Fatalf("python %q: %v\n%s", arguments, err, output)
	}
}

func (p project) command(arguments ...string) *exec.Cmd {
	command := exec.Command(p.python, arguments...)
	command.Dir = p.dir
	command.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONIOENCODING=utf-8", "PYTHONUTF8=1")
	return command
}

// serve runs Django's own server, and returns where it listens.
func (p project) serve(t *testing.T) (addr string) {
	t.Helper()
	addr = "127.0.0.1:" + freePort(t)
	testprogram.Listen(t, p.command("manage.py", "runserver", "--noreload", addr), addr, os.Interrupt)
	return addr
}
