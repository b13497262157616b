package bus

import (
	"context"

	dbusinterfaces "github.com/stas-go/stas/dbus-interfaces"
)

// ConnectorServer is stacd on the bus; as for [FinderServer].
type ConnectorServer struct {
	*server
	controllers *objects[IOController]
}

// NewConnectorServer makes the server of stacd; nothing happens before Run.
func NewConnectorServer(opts Options, c Connector, d Debug) *ConnectorServer {
	s := newServer(ConnectorName, connectorPath, dbusinterfaces.Stac, opts, d, ConnectorName)
	s.tree.export(s.path, ConnectorName, members{
		"list_controllers": {in: "b", run: func(ctx context.Context, call *call) ([]any, error) {
			list, err := c.Controllers(ctx, call.bool(0))
			if err != nil {
				return nil, err
			}
			return listReply(list, call.bool(0), s.debug.iface+".controller_info")
		}},
	})
	return &ConnectorServer{server: s}
}
