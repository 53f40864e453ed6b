# For interactive shells; the home may have its own ~/.bashrc.
[ -z "$PS1" ] && return
shopt -s checkwinsize histappend
PS1='\[\e[36m\]\w\[\e[0m\] \[\e[1;32m\]❯\[\e[0m\] '
alias ls='ls --color=auto' ll='ls -l' grep='grep --color=auto'
