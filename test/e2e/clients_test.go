//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stas-go/stas/test/fabric"
	"github.com/stas-go/stas/test/recording"
)

// python runs a client of nvme-stas and returns what it printed, a literal of Python, as Go values.
func python(t *testing.T, client string, args ...string) any {
	t.Helper()
	const convert = "import ast, json, sys; print(json.dumps(ast.literal_eval(sys.stdin.read())))"
	out := fabric.Run(t, "/opt/nvme-stas/run/"+client, args...)
	cmd := exec.Command("python3", "-c", convert)
	cmd.Stdin = strings.NewReader(out)
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s printed no literal: %s", client, strings.Join(args, " "), out)
	}
	return decode(t, string(text))
}

func decode(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

// recorded is the reply of nvme-stas to a call.
func recorded(t *testing.T, bus, member string, args ...string) any {
	t.Helper()
	for _, c := range recording.Calls() {
		if c.Name == "org.nvmexpress."+bus && c.Member == member && slices.Equal(c.Args[min(1, len(c.Args)):][:len(args)], args) {
			return decode(t, c.Reply)
		}
	}
	t.Fatalf("%s %s %v is not in the recording", bus, member, args)
	return nil
}

// mask hides what differs from host to host and from moment to moment: host NQN, UUID, serial number, timers.
func mask(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = mask(v[i])
		}
	case map[string]any:
		for k := range v {
			switch {
			case slices.Contains([]string{"hostnqn", "host-nqn", "hostid", "serial"}, k), strings.HasSuffix(k, " timer"):
				v[k] = "masked"
			default:
				v[k] = mask(v[k])
			}
		}
	}
	return v
}

// status is what the client's status command makes of the recorded replies.
func recordedStatus(t *testing.T, bus string, pages bool) any {
	t.Helper()
	info := recorded(t, bus, "process_info").(map[string]any)
	list := recorded(t, bus, "list_controllers", "true").([]any)
	for _, c := range list {
		c := c.(map[string]any)
		if pages {
			c["log_pages"] = recorded(t, bus, "get_log_pages", "tcp", "127.0.0.1")
		}
		for k, v := range recorded(t, bus, "controller_info", "tcp", "127.0.0.1").(map[string]any) {
			c[k] = v
		}
	}
	info["controllers"] = list
	return info
}

// TestPythonClients runs the clients of Debian's nvme-stas against our daemons, before the fabric that was recorded: what they
// print is what they print with their own daemons.
func TestPythonClients(t *testing.T) {
	fabric.Clean(t)
	sub := fabric.NewSubsystem(t, "nqn.2026-01.test:a", fabric.Options{})
	fabric.TCP(t, address, service).Link(t, sub)
	fabric.Configure(t, "stafd.conf", noMDNS+controllers(dc+";kato=20"))
	fabric.Configure(t, "stacd.conf", "")
	fabric.Start(t, "stafd", "stacd")
	awaitOwned(t, reaction, sub)

	for _, c := range []struct {
		command string
		want    any
	}{
		{"stafctl ls", recorded(t, "staf", "list_controllers", "false")},
		{"stafctl ls -d", recorded(t, "staf", "list_controllers", "true")},
		{"stafctl status", recordedStatus(t, "staf", true)},
		{"stafctl dlp -t tcp -a 127.0.0.1 -s 8009", recorded(t, "staf", "get_log_pages", "tcp", "127.0.0.1")},
		{"stafctl adlp", recorded(t, "staf", "get_all_log_pages", "false")},
		{"stafctl adlp -d", recorded(t, "staf", "get_all_log_pages", "true")},
		{"stacctl ls", recorded(t, "stac", "list_controllers", "false")},
		{"stacctl ls -d", recorded(t, "stac", "list_controllers", "true")},
		{"stacctl status", recordedStatus(t, "stac", false)},
	} {
		words := strings.Fields(c.command)
		got := python(t, words[0], words[1:]...)
		if d := cmp.Diff(mask(c.want), mask(got)); d != "" {
			t.Errorf("%s (-recorded +ours):\n%s", c.command, d)
		}
	}
	for _, c := range []struct{ command, want string }{
		{"stafctl tron", "tron = True"}, {"stafctl troff", "tron = False"}, {"stacctl tron", "tron = True"}, {"stacctl troff", "tron = False"},
	} {
		client, verb, _ := strings.Cut(c.command, " ")
		if out := strings.TrimSpace(fabric.Run(t, "/opt/nvme-stas/run/"+client, verb)); out != c.want {
			t.Errorf("%s prints %q", c.command, out)
		}
	}
}

// TestPythonClientsPath has the host's end of the connection given in one way only, which is where the order of the arguments shows,
// and a discovery controller that is found by referral.
func TestPythonClientsPath(t *testing.T) {
	wide(t)
	fabric.Clean(t)
	a, b := fabric.NewSubsystem(t, prefix+"a", fabric.Options{}), fabric.NewSubsystem(t, prefix+"b", fabric.Options{})
	first, second := fabric.TCP(t, address, service), fabric.TCP(t, "127.0.0.2", service)
	first.Link(t, a)
	second.Link(t, b)
	first.Refer(t, fabric.PortOptions{Transport: "tcp", Address: "127.0.0.2", Service: fmt.Sprint(service)})
	fabric.Configure(t, "stacd.conf", "")

	for _, c := range []struct {
		key, value, option string
		line               string
	}{
		{"host-iface", "lo", "-f", dc + ";host-iface=lo"},
		{"host-traddr", "127.0.0.9", "-w", dc + ";host-traddr=127.0.0.9"},
	} {
		t.Run(c.key, func(t *testing.T) {
			fabric.Stop(t, "stafd", "stacd")
			fabric.Run(t, "nvme", "disconnect-all")
			fabric.Configure(t, "stafd.conf", noMDNS+controllers(c.line))
			fabric.Start(t, "stafd", "stacd")
			awaitOwned(t, reaction, a, b)

			origins := map[string]string{}
			for _, dc := range python(t, "stafctl", "ls", "-d").([]any) {
				dc := dc.(map[string]any)
				origins[dc["traddr"].(string)] = dc["origin"].(string)
				if dc[c.key] != c.value {
					t.Errorf("%s of %s is %q", c.key, dc["traddr"], dc[c.key])
				}
				pages := python(t, "stafctl", "dlp", "-t", "tcp", "-a", dc["traddr"].(string), "-s", "8009", c.option, c.value).([]any)
				if len(pages) < 2 {
					t.Errorf("%s lists %v", dc["traddr"], pages)
				}
			}
			if d := cmp.Diff(map[string]string{address: "configured", "127.0.0.2": "referral"}, origins); d != "" {
				t.Errorf("discovery controllers:\n%s", d)
			}
			list := python(t, "stacctl", "ls").([]any)
			if len(list) != 2 {
				t.Errorf("%d I/O controllers are listed", len(list))
			}
			for _, ioc := range list {
				if ioc := ioc.(map[string]any); ioc[c.key] != c.value {
					t.Errorf("%s of %s is %q", c.key, ioc["subsysnqn"], ioc[c.key])
				}
			}
			for _, on := range fabric.Controllers(t) {
				if got := on.Field(strings.ReplaceAll(c.key, "-", "_")); got != c.value {
					t.Errorf("%s: %s is %q", on.Name, c.key, got)
				}
			}
		})
	}
}
