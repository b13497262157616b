package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/godbus/dbus/v5"
)

// ErrNotRunning says that the bus is there and the daemon is not.
var ErrNotRunning = errors.New("not running")

// ErrNotPermitted says that the bus or the daemon refuses this user.
var ErrNotPermitted = errors.New("not permitted")

// Client asks one daemon over its legacy interface. It is for tools: it connects once
// and does not come back when the bus dies. Close it.
type Client struct {
	conn  *link
	name  string
	path  dbus.ObjectPath
	opts  Options
	debug string
}

// ConnectFinder gives a client of stafd. That succeeds also when stafd is not running.
func ConnectFinder(ctx context.Context, opts Options) (*Client, error) {
	return connectClient(ctx, opts, FinderName, finderPath)
}

// ConnectConnector gives a client of stacd.
func ConnectConnector(ctx context.Context, opts Options) (*Client, error) {
	return connectClient(ctx, opts, ConnectorName, connectorPath)
}

func connectClient(ctx context.Context, opts Options, name string, path dbus.ObjectPath) (*Client, error) {
	conn, err := dial(ctx, opts, dbus.WithSignalHandler(deaf{}))
	if err != nil {
		return nil, err
	}
	return &Client{conn, name, path, opts, name + ".debug"}, nil
}

// Close ends the connection.
func (c *Client) Close() { c.conn.Close() }

// Controllers is list_controllers.
func (c *Client) Controllers(ctx context.Context, detailed bool) ([]map[string]string, error) {
	var list []map[string]string
	err := c.ask(ctx, c.name+".list_controllers", &list, detailed)
	return list, err
}

// LogPage is get_log_pages.
func (c *Client) LogPage(ctx context.Context, id ID) ([]map[string]string, error) {
	var list []map[string]string
	err := c.ask(ctx, c.name+".get_log_pages", &list, id.args()...)
	return list, err
}

// AllLogPages is get_all_log_pages, a JSON text.
func (c *Client) AllLogPages(ctx context.Context, detailed bool) (string, error) {
	var text string
	err := c.ask(ctx, c.name+".get_all_log_pages", &text, detailed)
	return text, err
}

// ProcessInfo is process_info, a JSON text.
func (c *Client) ProcessInfo(ctx context.Context) (string, error) {
	var text string
	err := c.ask(ctx, c.debug+".process_info", &text)
	return text, err
}

// ControllerInfo is controller_info, a JSON text.
func (c *Client) ControllerInfo(ctx context.Context, id ID) (string, error) {
	var text string
	err := c.ask(ctx, c.debug+".controller_info", &text, id.args()...)
	return text, err
}

// Pages is ListPages of the pages1 interface of stafd. False when the daemon that
// answers has no such interface, as nvme-stas 2.x.
func (c *Client) Pages(ctx context.Context) ([]Page, bool, error) {
	var wire []wirePage
	err := c.ask(ctx, pagesInterface+".ListPages", &wire)
	if e, ok := errors.AsType[dbus.Error](err); ok && (e.Name == errUnknownInterface || e.Name == errUnknownMethod) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	pages, err := checkPages(wire)
	return pages, true, err
}

// Tron reads the property of that name.
func (c *Client) Tron(ctx context.Context) (bool, error) {
	var v dbus.Variant
	if err := c.ask(ctx, properties+".Get", &v, c.debug, "tron"); err != nil {
		return false, err
	}
	on, ok := v.Value().(bool)
	if !ok {
		return false, fmt.Errorf("property tron is a %T, not a boolean", v.Value())
	}
	return on, nil
}

// SetTron sets the property of that name.
func (c *Client) SetTron(ctx context.Context, on bool) error {
	return c.ask(ctx, properties+".Set", nil, c.debug, "tron", dbus.MakeVariant(on))
}

func (id ID) args() []any {
	return []any{id.Transport, id.Traddr, id.Trsvcid, id.SubsysNQN, id.HostTraddr, id.HostIface, id.HostNQN}
}

// ask calls a method and stores its result, unless result is nil.
func (c *Client) ask(ctx context.Context, method string, result any, args ...any) error {
	return c.askAt(ctx, c.path, method, result, args...)
}

func (c *Client) askAt(ctx context.Context, path dbus.ObjectPath, method string, result any, args ...any) error {
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = clean(s)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.callTimeout())
	defer cancel()
	call := c.conn.Object(c.name, path).CallWithContext(ctx, method, dbus.FlagNoAutoStart, args...)
	switch e, ok := errors.AsType[dbus.Error](call.Err); {
	case ok && (e.Name == errServiceUnknown || e.Name == errNameHasNoOwner):
		return ErrNotRunning
	case ok && e.Name == errAccessDenied:
		return fmt.Errorf("%w: %w", ErrNotPermitted, call.Err)
	case errors.Is(call.Err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v", c.opts.callTimeout())
	case call.Err != nil:
		return call.Err
	case result == nil:
		return nil
	}
	return store(call.Body, result)
}
