// completion_command.cpp — `tessera completion bash|zsh|fish`: what the shell may propose.
//
// Options are not listed here: the script asks `tessera COMMAND --help` when it needs them, so what
// is proposed is what there is.
#include <cstdio>

#include "gateway/cli/commands.hpp"

namespace tessera {
namespace {

constexpr char kHelp[] = R"(Prints a script that completes tessera's commands and options.

Usage: tessera completion bash|zsh|fish

  bash   source <(tessera completion bash)
  zsh    source <(tessera completion zsh)
  fish   tessera completion fish | source
)";

// Words of --help that are commands stand after two blanks, options begin with two dashes.
constexpr char kBash[] = R"sh(_tessera() {
  local word=${COMP_WORDS[COMP_CWORD]} words
  if [[ $COMP_CWORD -eq 1 ]]; then
    words=$(tessera --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\(, [a-z]*\)*\).*/\1/p' |
      tr -d ,)
    words+=" version completion"
  elif [[ $word == -* ]]; then
    words=$(tessera "${COMP_WORDS[1]}" --help | grep -o -- '^  --[a-z-]*')
  else
    words=$(tessera "${COMP_WORDS[1]}" --help |
      sed -n "s/^  tessera ${COMP_WORDS[1]} \([a-z]*\).*/\1/p")
    compopt -o default
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -F _tessera tessera
)sh";

constexpr char kZsh[] = R"sh(autoload -U +X bashcompinit && bashcompinit
)sh";

constexpr char kFish[] = R"sh(function __tessera_words
  set -l words (commandline -opc)
  if test (count $words) -eq 1
    tessera --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\(, [a-z]*\)*\).*/\1/p' |
      tr -d , | tr ' ' '\n'
    printf 'version\ncompletion\n'
  else
    tessera $words[2] --help | grep -o -- '^  --[a-z-]*' | string trim
    tessera $words[2] --help | sed -n "s/^  tessera $words[2] \([a-z]*\).*/\1/p"
  end
end
complete -c tessera -a '(__tessera_words)'
)sh";

}  // namespace

int completion_command(std::span<const std::string> arguments) {
  const std::string shell = arguments.empty() ? "--help" : arguments.front();
  if (shell == "--help") {
    std::fputs(kHelp, stdout);
    return arguments.empty() ? kExitUsage : kExitDone;
  }
  if (arguments.size() == 1 && shell == "fish") {
    std::fputs(kFish, stdout);
    return kExitDone;
  }
  if (arguments.size() == 1 && (shell == "bash" || shell == "zsh")) {
    std::printf("%s%s", shell == "zsh" ? kZsh : "", kBash);
    return kExitDone;
  }
  return usage_error("completion", "The shells are bash, zsh and fish.");
}

}  // namespace tessera
