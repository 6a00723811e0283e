// text_table.hpp — rows of text in aligned columns, for the terminal.
#pragma once

#include <string>
#include <vector>

namespace tessera {

// Columns two spaces apart; numbers (cells of digits, signs, dots and commas only) and
// the headers above them to the right.
// Control bytes of a cell are shown as '?': names are tenants' text and must not move the cursor.
std::string text_table(const std::vector<std::string>& header,
                       const std::vector<std::vector<std::string>>& rows);

}  // namespace tessera
