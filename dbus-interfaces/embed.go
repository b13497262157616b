// Package dbusinterfaces holds the D-Bus interfaces of stafd and stacd as
// introspection XML. The files beside it are installed as they are and embedded
// here, so that what is documented is what a daemon answers to Introspect.
package dbusinterfaces

import _ "embed"

// Staf describes the object /org/nvmexpress/staf.
//
//go:embed org.nvmexpress.staf.xml
var Staf string

// Stac describes the object /org/nvmexpress/stac.
//
//go:embed org.nvmexpress.stac.xml
var Stac string

// StafController describes the objects below /org/nvmexpress/staf/controller.
//
//go:embed org.nvmexpress.staf.controller.xml
var StafController string

// StacController describes the objects below /org/nvmexpress/stac/controller.
//
//go:embed org.nvmexpress.stac.controller.xml
var StacController string
