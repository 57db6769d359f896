//! Completions for bash, zsh and fish: the options, and files where an option takes a path.

use kanidm_ldap_sync::cli::{CliOption, OPTIONS};

/// What `PATH` stands for is completed by the shell itself.
fn takes_a_path(option: &CliOption) -> bool {
    option.value == Some("PATH")
}

/// `-c --client-config`, every spelling.
fn spellings(option: &CliOption) -> impl Iterator<Item = String> {
    option
        .short
        .iter()
        .map(|c| format!("-{c}"))
        .chain(option.long.iter().map(|long| format!("--{long}")))
}

/// For `/usr/share/bash-completion/completions/kanidm-ldap-sync`. It needs bash 4.4 and no package
/// beside it.
pub fn bash() -> String {
    let pattern = |wanted: &dyn Fn(&CliOption) -> bool| {
        OPTIONS
            .iter()
            .filter(|option| wanted(option))
            .flat_map(spellings)
            .collect::<Vec<_>>()
            .join("|")
    };
    let paths = pattern(&takes_a_path);
    let others = pattern(&|option| option.value.is_some() && !takes_a_path(option));
    let all = OPTIONS.iter().flat_map(spellings).collect::<Vec<_>>().join(" ");
    format!(
        r#"# bash completion for kanidm-ldap-sync

_kanidm_ldap_sync() {{
  local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}}
  # --option=value is three words to bash.
  if [[ $current == = ]]; then
    current=
  elif [[ $before == = ]]; then
    before=${{COMP_WORDS[COMP_CWORD - 2]}}
  fi
  case $before in
    {paths})
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      ;;
    {others})
      COMPREPLY=()
      ;;
    *)
      mapfile -t COMPREPLY < <(compgen -W "{all}" -- "$current")
      ;;
  esac
}}
complete -F _kanidm_ldap_sync kanidm-ldap-sync
"#
    )
}

/// For `/usr/share/zsh/vendor-completions/_kanidm-ldap-sync`.
pub fn zsh() -> String {
    let mut text = String::from("#compdef kanidm-ldap-sync\n\n_arguments -s -S");
    for option in OPTIONS {
        let all: Vec<String> = spellings(option).collect();
        let help = option.help.replace('[', "\\[").replace(']', "\\]").replace('\'', "'\\''");
        let value = match option.value {
            Some(value) if takes_a_path(option) => format!(":{value}:_files"),
            Some(value) => format!(":{value}: "),
            None => String::new(),
        };
        for name in &all {
            // `+`: the value may stand in the same word; `=`: behind an equals sign, too.
            let sign = if option.value.is_none() {
                ""
            } else if name.starts_with("--") {
                "="
            } else {
                "+"
            };
            text.push_str(&format!(" \\\n  '({}){name}{sign}[{help}]{value}'", all.join(" ")));
        }
    }
    text.push('\n');
    text
}

/// For `/usr/share/fish/vendor_completions.d/kanidm-ldap-sync.fish`.
pub fn fish() -> String {
    let mut text =
        String::from("# fish completion for kanidm-ldap-sync\n\ncomplete -c kanidm-ldap-sync -f\n");
    for option in OPTIONS {
        text.push_str("complete -c kanidm-ldap-sync");
        option.short.iter().for_each(|c| text.push_str(&format!(" -s {c}")));
        option.long.iter().for_each(|long| text.push_str(&format!(" -l {long}")));
        match option.value {
            Some(_) if takes_a_path(option) => text.push_str(" -r -F"),
            Some(_) => text.push_str(" -x"),
            None => {}
        }
        text.push_str(&format!(
            " -d '{}'\n",
            option.help.replace('\\', "\\\\").replace('\'', "\\'")
        ));
    }
    text
}
