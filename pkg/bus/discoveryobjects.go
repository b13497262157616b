package bus

import (
	"context"

	dbusinterfaces "github.com/stas-go/stas/dbus-interfaces"
)

// errNotRead tells a page that was never read from one without entries.
const errNotRead = FinderName + ".Error.NotRead"

// ServeControllers has the server show controllers as objects. Call it before Run.
func (s *FinderServer) ServeControllers(c DiscoveryControllers) {
	o := newObjects(discoveryKind, s.path, "", c.DiscoveryControllers)
	s.controllers = o
	exportManager(s.server, o, &children{
		xml: withStandard(dbusinterfaces.StafController),
		members: func(key string) map[string]members {
			return map[string]members{
				properties: o.propertyMembers(key),
				o.iface: {
					"Reconnect":  o.act(key, c.Reconnect),
					"Refresh":    o.act(key, c.Refresh),
					"GetLogPage": {run: func(ctx context.Context, _ *call) ([]any, error) { return s.logPage(ctx, key) }},
				},
			}
		},
	})
}

// ControllerChanged announces that a controller came, went or changed.
func (s *FinderServer) ControllerChanged(key string) {
	if s.controllers != nil {
		s.controllers.mark(key, event{})
	}
}

// logPage is the reply of GetLogPage.
func (s *FinderServer) logPage(ctx context.Context, key string) ([]any, error) {
	page, entries, ok, err := s.pages.PageEntries(ctx, key)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, s.controllers.unknown(key)
	case !page.Complete:
		return nil, busError(errNotRead, "the log page was never read")
	}
	wire, total := make([]wireEntry, len(entries)), 0
	for i := range entries {
		wire[i] = newWireEntry(&entries[i])
		e := &wire[i]
		if total += 32 + len(e.Traddr) + len(e.Trsvcid) + len(e.SubNQN) + 3*stringOverhead; total > MaxReply {
			return nil, busError(errLimitsExceeded, "the log page is larger than %d MiB: ask %s.GetPage for it", MaxReply>>20, pagesInterface)
		}
	}
	return []any{page.GenCtr, wire}, nil
}
