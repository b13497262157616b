package fabricsim

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"github.com/stas-go/stas/pkg/nvme"
	"github.com/stas-go/stas/pkg/nvmetcp"
)

// Config is what a fabric consists of at its start.
type Config struct {
	Control    string // path of the control socket; empty for none
	Memory     int64  // most bytes that all namespaces together may hold
	Announce   bool   // announce discovery controllers by mDNS, where they do not say otherwise
	IOQueues   int    // I/O queues per controller, 0 for as many as are asked for
	Ports      []PortConfig
	DCs        []DCConfig
	Subsystems []SubsystemConfig
	Hosts      []HostConfig
	Zones      []ZoneConfig
	Entries    []EntryConfig
	Faults     []FaultConfig

	lines map[string]int // on which line of the file a section begins, by its kind and name
}

// PortConfig is an address that controllers are reached at.
type PortConfig struct {
	Name      string
	Address   netip.AddrPort // port 0 takes a free one
	Advertise string         // traddr in log pages where it is not Address
	Service   string         // trsvcid in log pages where it is not Address
}

// DCConfig is a discovery controller.
type DCConfig struct {
	Name       string
	Type       nvme.DCType
	NQN        string // unique NQN, empty for the well-known one only
	Ports      []string
	Zoning     bool // a host sees only what shares a zone with it
	Register   bool // takes DIM
	AEN        bool // raises the discovery log event
	LogPages   bool // has LID 0
	PortLocal  bool // PLEO
	Extended   bool // extended entries
	Self       bool // lists itself (subtype 3)
	EFlags     nvme.EFlags
	PadNUL     bool // pads text with NUL, as nvmet does, in place of spaces
	Announce   *bool
	Subsystems []string // names of the [subsystem] sections that it may list, empty for all
	Referrals  []string // names of other DCs, or URLs like nvme+tcp://192.0.2.1:8009/NQN
	Generation uint64   // generation counter to begin with
}

// SubsystemConfig is an NVM subsystem, or Count of them.
type SubsystemConfig struct {
	Name       string
	NQN        string // with Count, "%d" in it (or at its end) becomes 1, 2, ...
	Count      int    // 0 for one
	Ports      []string
	Namespaces []uint64 // sizes in bytes
	BlockSize  int      // 512 or 4096
	Access     Access
	Hosts      []string // names or NQNs, with AccessList
	Serial     string
	Model      string
	TReq       nvme.TReq
	SecType    nvme.SecType
	EFlags     nvme.EFlags
	ANA        map[string]nvme.ANAState // by port, optimized where nothing is said; nil: not reported
}

// Access says who may connect to a subsystem; it is also who sees it where its
// discovery controller has no zoning.
type Access uint8

// Values of Access.
const (
	AccessAny   Access = iota
	AccessZoned        // hosts that share a zone with it
	AccessList         // the hosts named
)

// HostConfig gives a name to a host, and a key if it has to authenticate.
type HostConfig struct {
	Name string
	NQN  string
	Auth nvmetcp.AuthPolicy
}

// ZoneConfig is a set of hosts and subsystems, by name or NQN.
type ZoneConfig struct {
	Name    string
	Members []string
}

// EntryConfig is a log page entry that nothing stands behind: odd addresses, other
// transports, text that is no address. Text is served as it is.
type EntryConfig struct {
	Name  string
	DCs   []string
	Entry nvme.DiscoveryEntry
}

// FaultConfig is a misbehaviour; see the manual page for the actions.
type FaultConfig struct {
	Name      string `json:"name"`
	Port      string `json:"port,omitempty"`
	Subsystem string `json:"subsystem,omitempty"` // name or NQN of a subsystem or discovery controller
	Host      string `json:"host,omitempty"`      // name or NQN
	Step      string `json:"step,omitempty"`      // one of nvmetcp.Steps
	Skip      int    `json:"skip,omitempty"`      // behave that many times first
	Times     int    `json:"times,omitempty"`     // then misbehave that many times, 0 for ever
	Action    string `json:"action"`
}

const (
	defaultMemory  = 1 << 30
	maxSubsystems  = nvme.MaxRecords
	maxNamespaces  = 1024
	maxConfigBytes = 16 << 20
)

// LoadConfig reads a configuration file. Errors name file and line.
func LoadConfig(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read configuration: %w", err)
	}
	defer f.Close()
	in := &io.LimitedReader{R: f, N: maxConfigBytes + 1}
	c, err := ParseConfig(in)
	if in.N == 0 {
		err = fmt.Errorf("it has more than %d bytes", maxConfigBytes)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot use %s: %w", path, err)
	}
	return c, nil
}

// ParseConfig reads a configuration. Errors name the line.
func ParseConfig(r io.Reader) (*Config, error) {
	sections, err := parseINI(r)
	if err != nil {
		return nil, err
	}
	c := &Config{Memory: defaultMemory, lines: make(map[string]int)}
	for _, s := range sections {
		if err := c.addSection(s); err != nil {
			return nil, err
		}
	}
	if len(c.Ports) == 0 {
		return nil, errors.New("there is no [port NAME] section")
	}
	return c, c.check()
}

// at puts in front of an error on which line of the file the section begins that it is about.
func (c *Config) at(section string, err error) error {
	if line := c.lines[section]; err != nil && line > 0 {
		return fmt.Errorf("line %d: %w", line, err)
	}
	return err
}

func (c *Config) addSection(s section) error {
	if s.kind != "fabricsim" {
		if s.name == "" {
			return fmt.Errorf("line %d: [%s] needs a name", s.line, s.kind)
		}
		id := s.kind + " " + s.name
		if before := c.lines[id]; before > 0 {
			return fmt.Errorf("line %d: [%s] is on line %d already", s.line, id, before)
		}
		c.lines[id] = s.line
	}
	parse, ok := parsers[s.kind]
	if !ok {
		return fmt.Errorf("line %d: unknown section [%s]", s.line, s.kind)
	}
	set, finish := parse(c, s.name)
	for _, kv := range s.settings {
		if err := set(kv.key, kv.value); err != nil {
			return fmt.Errorf("line %d: %s in [%s %s]: %w", kv.line, kv.key, s.kind, s.name, err)
		}
	}
	if err := finish(); err != nil {
		return fmt.Errorf("line %d: [%s %s]: %w", s.line, s.kind, s.name, err)
	}
	return nil
}

// check looks at which ports are referred to. Whether NQNs and addresses exist twice is found when the fabric is built.
func (c *Config) check() error {
	ports := make(map[string]bool)
	for _, p := range c.Ports {
		ports[p.Name] = true
	}
	known := func(section string, list []string) error {
		if len(list) == 0 {
			return c.at(section, fmt.Errorf("[%s] has no ports", section))
		}
		for _, name := range list {
			if !ports[name] {
				return c.at(section, fmt.Errorf("[%s]: there is no [port %s]", section, name))
			}
		}
		return nil
	}
	for _, d := range c.DCs {
		if err := known("dc "+d.Name, d.Ports); err != nil {
			return err
		}
	}
	total := 0
	for _, s := range c.Subsystems {
		if err := known("subsystem "+s.Name, s.Ports); err != nil {
			return err
		}
		if total += max(1, s.Count); total > maxSubsystems {
			return c.at("subsystem "+s.Name, fmt.Errorf("more than %d subsystems", maxSubsystems))
		}
	}
	for _, f := range c.Faults {
		if f.Port == "" {
			continue
		}
		if err := known("fault "+f.Name, []string{f.Port}); err != nil {
			return err
		}
	}
	return nil
}
