// zip_directory.hpp — whether a zip is one about which all readers agree.
//
// A zip says everything twice, in front of each file and in a directory at its end, and readers
// differ in which of them they believe: files that overlap, that contain the archive itself, or
// that are there for one reader only all live between the two. Here the directory lies at the very
// end, the files lie one behind the other from the first byte up to it, in its order, and both
// descriptions are equal. What tools write by default is of that form. (Format: PKWARE's APPNOTE.)
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "adapters/finding.hpp"

namespace tessera {

// Nothing if the archive may be read. Errors: kArchiveUnreadable, kArchiveEncrypted,
// kArchiveBadEntry, kArchiveTooManyEntries, kArchiveTrailingData.
std::optional<Finding> check_zip_directory(std::span<const std::byte> archive, int max_entries);

}  // namespace tessera
