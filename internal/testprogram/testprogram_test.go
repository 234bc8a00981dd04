package testprogram_test

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/internal/child"
	"github.com/caddy-sesame/caddy-sesame/internal/testprogram"
)

func TestProgramsEndWithTheirTest(t *testing.T) {
	t.Parallel()
	addr, err := child.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("a server", func(t *testing.T) {
		testprogram.Listen(t, exec.Command(testprogram.Python(t, "http.server"), "-m", "http.server", "--bind", host, port), addr, os.Interrupt)
	})
	if conn, err := net.Dial("tcp", addr); err == nil {
		_ = conn.Close()
		t.Error("the server still listens")
	}
	var program *exec.Cmd
	t.Run("a dialog", func(t *testing.T) {
		program = exec.Command("cat")
		d := testprogram.StartDialog(t, program)
		if _, err := d.In.Write([]byte("it runs\n")); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(d.Out).ReadString('\n'); err != nil || line != "it runs\n" {
			t.Errorf("%q, %v", line, err)
		}
	})
	if program.ProcessState == nil {
		t.Error("the program still runs")
	}
}

func TestPythonWithoutTheModulesIsNotTaken(t *testing.T) {
	t.Parallel()
	if program, ok := testprogram.FindPython("sys", "no_such_module"); ok {
		t.Errorf("%s was taken", program)
	}
}

func TestPythonEnvHasTheFolders(t *testing.T) {
	t.Parallel()
	if env := testprogram.SesameEnv("/checkout"); !slices.Contains(env, "PYTHONPATH=/checkout/src:/checkout") {
		t.Errorf("%q", env)
	}
}
