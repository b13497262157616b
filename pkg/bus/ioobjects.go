package bus

import (
	"context"

	dbusinterfaces "github.com/stas-go/stas/dbus-interfaces"
)

const errNotSupported = "org.freedesktop.DBus.Error.NotSupported"

// ServeControllers has the server show controllers as objects. Call it before Run.
func (s *ConnectorServer) ServeControllers(c IOControllers) {
	o := newObjects(ioKind, s.path, ioEventsInterface, c.IOControllers)
	s.controllers = o
	exportManager(s.server, o, &children{
		xml: withStandard(dbusinterfaces.StacController),
		members: func(key string) map[string]members {
			return map[string]members{
				properties: o.propertyMembers(key),
				o.iface: {
					"Reconnect": o.act(key, c.Reconnect),
					"Disconnect": {in: "b", run: func(ctx context.Context, call *call) ([]any, error) {
						if call.bool(0) {
							// The list is the administrator's; no daemon writes it.
							if err := onlyRoot(ctx, call); err != nil {
								return nil, err
							}
							return nil, busError(errNotSupported, "stacd does not write exclusion lists: use stacctl disconnect --exclude")
						}
						return o.acted(ctx, call, key, c.Disconnect)
					}},
				},
			}
		},
	})
}

// ControllerChanged announces that a controller came, went or changed.
func (s *ConnectorServer) ControllerChanged(key string) { s.mark(key, event{}) }

// ControllerConnected announces that a controller is live.
func (s *ConnectorServer) ControllerConnected(key string) { s.mark(key, event{member: "Connected"}) }

// ControllerLost announces that a controller that was live is so no more.
func (s *ConnectorServer) ControllerLost(key string) { s.mark(key, event{member: "Lost"}) }

// ControllerGivenUp announces that a controller is not tried any more for the time being.
func (s *ConnectorServer) ControllerGivenUp(key, reason string) {
	s.mark(key, event{member: "GivenUp", reason: reason, why: true})
}

func (s *ConnectorServer) mark(key string, ev event) {
	if s.controllers != nil {
		s.controllers.mark(key, ev)
	}
}
