#include "cli/session_contexts.h"

#include "runner/sandbox/transpiler.h"

namespace forkbox::cli {

execd::Contexts::Options SessionContexts(sandbox::CompilingDriver& driver) {
  execd::Contexts::Options options;
  for (const sandbox::LanguageStatus& language : driver.Languages()) {
    const languages::Manifest* const manifest = driver.process().ManifestOf(language.id);
    if (language.ready && manifest != nullptr && manifest->session) {
      options.languages.push_back(language.id);
    }
  }
  // StartEngine() made it.
  if (auto* transpiler = dynamic_cast<sandbox::Transpiler*>(driver.CompilerOf("typescript"))) {
    options.transpile = [transpiler](const std::string& code) {
      return transpiler->TranspileCell(code);
    };
  }
  return options;
}

}  // namespace forkbox::cli
