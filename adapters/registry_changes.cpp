#include "adapters/registry_changes.hpp"

namespace tessera {

std::string_view event_name(RegistryChange::Kind kind) {
  using Kind = RegistryChange::Kind;
  switch (kind) {
    case Kind::kAdapterCreated:
      return "adapter.created";
    case Kind::kAdapterUpdated:
      return "adapter.updated";
    case Kind::kAdapterDeleted:
      return "adapter.deleted";
    case Kind::kVersionCreated:
      return "adapter.version.created";
    case Kind::kVersionUpdated:
      return "adapter.version.updated";
    case Kind::kVersionDeleted:
      return "adapter.version.deleted";
    case Kind::kAliasUpdated:
      return "adapter.alias.updated";
    case Kind::kAliasDeleted:
      break;
  }
  return "adapter.alias.deleted";
}

}  // namespace tessera
