#include "engine/guided/formats.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string>

#include "engine/guided/ecma_regex.hpp"
#include "engine/guided/format_automata.hpp"
#include "engine/text/utf8.hpp"

namespace tessera::guided {
namespace {

// Writes languages as regular expressions and puts them together.
class Formats {
 public:
  explicit Formats(RegexPool& pool) : pool_(pool) {}

  RegexId date() { return pool_.automaton(date_text()); }
  RegexId time() { return pool_.automaton(time_text()); }
  RegexId date_time() { return pool_.automaton(date_time_text()); }
  RegexId hostname() { return pool_.automaton(hostname_text()); }
  RegexId ipv6() { return pool_.automaton(ipv6_text()); }
  RegexId regex() { return pool_.automaton(regex_text()); }

  // RFC 3339 appendix A.
  RegexId duration() {
    return match(
        "P(?:\\d+W|(?:\\d+D|\\d+M(?:\\d+D)?|\\d+Y(?:\\d+M(?:\\d+D)?)?)"
        "(?:T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S))?"
        "|T(?:\\d+H(?:\\d+M(?:\\d+S)?)?|\\d+M(?:\\d+S)?|\\d+S))");
  }

  RegexId ipv4() {
    return match(
        "(?:(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)\\.){3}"
        "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)");
  }

  // RFC 4122, any version and variant.
  RegexId uuid() {
    return match("[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}");
  }

  // RFC 6901.
  RegexId json_pointer() { return match("(?:/(?:[^/~]|~[01])*)*"); }
  // Of the numbers only those without a digit behind a 0: python's jsonschema refuses 100.
  RegexId relative_json_pointer() { return match("(?:0|[1-9]+0?)(?:#|(?:/(?:[^/~]|~[01])*)*)"); }

  // RFC 5321 section 4.1.2, without its length of the whole: 64 octets, @, a host's 253.
  RegexId email() {
    return concat({local_part(), match("@"), either({hostname(), address_literal()})});
  }

  // RFC 6531, as far as every reader agrees.
  RegexId idn_email() {
    const auto local = match("[A-Za-z0-9!#$%&'*+/=?^_`{|}~-" + letters() +
                             "]+(?:\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-" + letters() + "]+)*");
    const auto wide = pool_.both(std::array{local, pool_.length_between(1, 21)});
    return either({email(), concat({wide, match("@"), idn_hostname()})});
  }

  // A label of 15 such letters is at most 63 octets in Punycode, and four labels at most 253.
  RegexId idn_hostname() {
    const std::string wide = "[0-9a-z" + letters() + "]";
    const std::string label =
        "(?:[0-9a-z](?:-?[0-9a-z]){0,29}|" + wide + "(?:-?" + wide + "){0,14})";
    const auto labels = match(label + "(?:\\." + label + "){0,3}");
    return either({hostname(), pool_.both(std::array{labels, plain_hyphens()})});
  }

  RegexId uri() { return absolute({}); }
  RegexId uri_reference() { return reference({}); }
  RegexId iri() { return absolute(beyond_ascii()); }
  RegexId iri_reference() { return reference(beyond_ascii()); }

  // RFC 6570, all levels; names without percent signs, prefixes of up to 999.
  RegexId uri_template() {
    const auto wide = beyond_ascii() + members({{0x10000, kCodePointEnd}});
    const std::string name = "\\w+(?:\\.\\w+)*(?::[1-9]\\d{0,2}|\\*)?";
    return match("(?:[!#$&'()*+,\\-./0-9:;=?@A-Z\\[\\]_a-z~" + wide + private_use() +
                 "]|%[0-9A-Fa-f]{2}|\\{[+#./;?&]?" + name + "(?:," + name + ")*\\})*");
  }

 private:
  RegexId match(std::string_view pattern) {
    return parse_ecma_whole(pattern, pool_, GuidedLimits{}).value();
  }
  RegexId concat(std::initializer_list<RegexId> parts) { return pool_.concat(std::span(parts)); }
  RegexId either(std::initializer_list<RegexId> parts) { return pool_.either(std::span(parts)); }

  RegexId local_part() {
    const auto text = match(
        "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
        "|\"(?:[ !#-\\[\\]-~]|\\\\[ -~])*\"");
    return pool_.both(std::array{text, pool_.length_between(1, 64)});
  }

  RegexId address_literal() {
    return concat({match("\\["), either({ipv4(), concat({match("IPv6:"), ipv6()})}), match("\\]")});
  }

  // No label with hyphens in its third and fourth place.
  RegexId plain_hyphens() { return pool_.complement(match("(?:[^]*\\.)?[^.][^.]--[^]*")); }

  // RFC 3986 appendix A, and RFC 3987 with `wide`, the members of a character class beyond ASCII.
  struct Parts {
    std::string character;  // of a path segment
    std::string no_colon;   // of the first segment of a relative path
    std::string authority_character;
    std::string tail;  // query and fragment
  };

  Parts parts(const std::string& wide) const {
    const std::string percent = "%[0-9A-Fa-f]{2}";
    const std::string set = "A-Za-z0-9\\-._~!$&'()*+,;=" + wide;
    const std::string privately = wide.empty() ? wide : private_use();
    return {"(?:[" + set + ":@]|" + percent + ")", "(?:[" + set + "@]|" + percent + ")",
            "(?:[" + set + "]|" + percent + ")",
            "(?:\\?(?:[" + set + ":@/?" + privately + "]|" + percent + ")*)?(?:#(?:[" + set +
                ":@/?]|" + percent + ")*)?"};
  }

  RegexId authority_and_path(const Parts& part) {
    const auto user = match("//(?:(?:" + part.authority_character + "|:)*@)?");
    const auto literal = concat(
        {match("\\["), either({ipv6(), match("[Vv][0-9A-Fa-f]+\\.[A-Za-z0-9\\-._~!$&'()*+,;=:]+")}),
         match("\\]")});
    const auto host = either({match(part.authority_character + "*"), literal});
    return concat({user, host, match("(?::\\d*)?(?:/" + part.character + "*)*")});
  }

  RegexId absolute(const std::string& wide) {
    const auto part = parts(wide);
    const auto path = match("/?(?:" + part.character + "+(?:/" + part.character + "*)*)?");
    return concat({match("[A-Za-z][A-Za-z0-9+\\-.]*:"), either({authority_and_path(part), path}),
                   match(part.tail)});
  }

  RegexId reference(const std::string& wide) {
    const auto part = parts(wide);
    const auto path = match("(?:/(?:" + part.character + "+(?:/" + part.character + "*)*)?|" +
                            part.no_colon + "+(?:/" + part.character + "*)*)?");
    const auto relative = concat({either({authority_and_path(part), path}), match(part.tail)});
    return either({absolute(wide), relative});
  }

  static std::string members(std::initializer_list<CodePointSet::Range> ranges) {
    std::string text;
    for (const auto& range : ranges) {
      append_utf8(text, range.begin);
      text += '-';
      append_utf8(text, range.end - 1);
    }
    return text;
  }

  // RFC 3987's ucschar and iprivate, of the Basic Multilingual Plane.
  static std::string beyond_ascii() {
    return members({{0xA0, 0xD800}, {0xF900, 0xFDD0}, {0xFDF0, 0xFFF0}});
  }
  static std::string private_use() { return members({{0xE000, 0xF900}}); }
  // Letters that IDNA 2008 allows anywhere in a label, all written from left to right.
  static std::string letters() {
    return members({{0xDF, 0xF7},
                    {0xF8, 0x100},
                    {0x3AC, 0x3CF},
                    {0x430, 0x460},
                    {0x3041, 0x3097},
                    {0x30A1, 0x30FB},
                    {0x4E00, 0x9FA6},
                    {0xAC00, 0xD7A4}});
  }

  RegexPool& pool_;
};

struct Entry {
  std::string_view name;
  RegexId (Formats::*make)();
};

constexpr std::array kFormats{
    Entry{"date", &Formats::date},
    Entry{"date-time", &Formats::date_time},
    Entry{"duration", &Formats::duration},
    Entry{"email", &Formats::email},
    Entry{"host-name", &Formats::hostname},  // draft 3's names of two of them
    Entry{"hostname", &Formats::hostname},
    Entry{"idn-email", &Formats::idn_email},
    Entry{"idn-hostname", &Formats::idn_hostname},
    Entry{"ip-address", &Formats::ipv4},
    Entry{"ipv4", &Formats::ipv4},
    Entry{"ipv6", &Formats::ipv6},
    Entry{"iri", &Formats::iri},
    Entry{"iri-reference", &Formats::iri_reference},
    Entry{"json-pointer", &Formats::json_pointer},
    Entry{"regex", &Formats::regex},
    Entry{"relative-json-pointer", &Formats::relative_json_pointer},
    Entry{"time", &Formats::time},
    Entry{"uri", &Formats::uri},
    Entry{"uri-reference", &Formats::uri_reference},
    Entry{"uri-template", &Formats::uri_template},
    Entry{"uuid", &Formats::uuid},
};

constexpr std::array kNames = [] {
  std::array<std::string_view, kFormats.size()> names;
  for (std::size_t i = 0; i < names.size(); ++i) names[i] = kFormats[i].name;
  return names;
}();

}  // namespace

std::optional<RegexId> format_language(std::string_view name, RegexPool& pool,
                                       const GuidedLimits&) {
  const auto* const entry = std::find_if(kFormats.begin(), kFormats.end(),
                                         [&](const Entry& e) { return e.name == name; });
  if (entry == kFormats.end()) return {};
  Formats formats(pool);
  return (formats.*(entry->make))();
}

std::span<const std::string_view> known_formats() {
  return kNames;
}

}  // namespace tessera::guided
